"""The guard for addresses: forbidden addresses in any spelling, and the allow list."""

import ipaddress
import socket

import pytest

from promptops.engine import addresses


@pytest.fixture(autouse=True)
def _no_allow_list():
    yield
    addresses.allow_only(None)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "2852039166",
        "0xA9FEA9FE",
        "0xa9.254.0251.254",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "[ff02::1]",
        "metadata.google.internal",
        "METADATA.google.internal.",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_is_refused_in_every_spelling(scheme: str, host: str) -> None:
    assert addresses.refusal_of_url(f"{scheme}://{host}:8080/v1")
    assert addresses.refusal_of_url(f"{scheme}://{host}/latest")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.0.0.5",
        "172.16.3.4",
        "192.168.1.20",
        "[fd12::1]",
        "vllm",
        "api.cerebras.ai",
        "8.8.8.8",
        "metadata.example.com",
    ],
)
def test_loopback_private_networks_and_names_may_be_called(host: str) -> None:
    assert addresses.refusal_of_url(f"http://{host}:8000/v1") is None


def test_with_an_allow_list_nothing_else_may_be_called() -> None:
    addresses.allow_only(addresses.allow_list(["api.groq.com", "*.internal.example", "10.1.0.0/16", "127.0.0.1"]))
    for host in ("api.groq.com", "API.GROQ.COM.", "gpu.internal.example", "10.1.2.3", "127.0.0.1", "2130706433"):
        assert addresses.refusal_of_url(f"https://{host}/v1") is None, host
    for host in ("api.cerebras.ai", "internal.example.org", "10.2.0.1", "[::1]", "localhost", "groq.com"):
        assert "PROVIDER_HOSTS" in (addresses.refusal_of_url(f"https://{host}/v1") or ""), host


def test_the_embedded_model_passes_an_allow_list() -> None:
    addresses.allow_only(addresses.allow_list(["api.groq.com"]))
    addresses.trust("http://127.0.0.1:45123")
    assert addresses.refusal_of_url("http://127.0.0.1:45123/v1/chat/completions") is None
    assert addresses.refusal_of_url("http://127.0.0.1:45124/v1/chat/completions")


@pytest.mark.parametrize("entry", ["http://x/", "10.0.0.0/33", "a/b", " "])
def test_an_entry_that_cannot_be_read_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        addresses.allow_list([entry])


def test_no_entries_are_no_list() -> None:
    assert addresses.allow_list([]) is None


@pytest.mark.parametrize("target", ["169.254.169.254", "2852039166", "::ffff:169.254.169.254", "fe80::1%lo", "name"])
def test_no_socket_is_made_for_a_refused_address(target: str) -> None:
    with pytest.raises(addresses.ForbiddenAddressError):
        addresses.guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (target, 80)))


def test_a_socket_is_made_for_another_one() -> None:
    with addresses.guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))) as made:
        assert made.family is socket.AF_INET


def test_every_metadata_address_is_refused() -> None:
    assert all(addresses.refusal(ipaddress.ip_address(address)) for address in addresses.METADATA_ADDRESSES)


@pytest.mark.parametrize(
    ("address", "private", "is_made"),
    [
        ("8.8.8.8", [], True),
        ("127.0.0.1", [], False),
        ("10.0.0.5", [], False),
        ("::1", [], False),
        ("::ffff:10.0.0.5", [], False),
        ("10.0.0.5", ["10.0.0.0/8"], True),
        ("10.0.0.5", ["hooks.internal"], True),
        ("10.0.0.5", ["other.internal"], False),
        ("169.254.169.254", ["hooks.internal", "169.254.0.0/16"], False),
    ],
)
def test_a_public_socket_reaches_private_addresses_of_its_list_only(address, private, is_made) -> None:
    make = addresses.public_socket("hooks.internal", addresses.allow_list(private))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    info = (family, socket.SOCK_STREAM, 6, "", (address, 443))
    if is_made:
        make(info).close()
    else:
        with pytest.raises(addresses.ForbiddenAddressError):
            make(info)
