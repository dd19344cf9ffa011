"""Addresses of clients, and the networks that limits count."""

import pytest

from promptops.platform.addresses import address_of, client_network


@pytest.mark.parametrize(
    ("behind_proxy", "peer", "forwarded", "address"),
    [
        (False, "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        (True, "192.0.2.1", "198.51.100.7", "198.51.100.7"),
        (True, "192.0.2.1", "10.0.0.1, 198.51.100.7", "198.51.100.7"),
        (True, "192.0.2.1", "nonsense", ""),
        (True, "192.0.2.1", None, "192.0.2.1"),
        (False, None, None, ""),
    ],
)
def test_the_address_of_a_client(settings, behind_proxy, peer, forwarded, address):
    settings.BEHIND_PROXY = behind_proxy
    assert address_of(peer, forwarded) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
    ],
)
def test_an_ipv6_client_counts_by_its_network(address, network):
    assert client_network(address) == network
