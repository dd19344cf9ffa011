"""The one guard for addresses that an operator can enter: it knows which of them PromptOps never calls.

A request from the server can reach services that its author cannot. For example, the metadata service of a cloud
machine gives credentials to any caller on that machine. `refusal_of_url` checks an address when it is saved.
`guarded_socket` checks every connection with the resolved address, so it does not help to move a name later.

Loopback and private networks are allowed, because people run vLLM there. `allow_only` restricts the hosts further. The
rules for keys do not belong here.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, DigitalOcean; also link-local
        "169.254.170.2",  # AWS ECS task credentials; also link-local
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle Cloud, classic
        "fd00:ec2::254",  # AWS over IPv6
        "fd20:ce::254",  # Google Cloud over IPv6
    )
)
"""Addresses where clouds serve a machine's own credentials, from the vendors' documentation."""

METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
"""Names of the same services."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses that contain an IPv4 address in their last 32 bits (RFC 6052)."""


class ForbiddenAddressError(OSError):
    """The guard refuses to open this connection. The message says why. An `OSError`, like any failed connection."""


@dataclass(frozen=True)
class AllowList:
    """The only hosts that may be called: names (`*` matches any part), addresses and networks."""

    names: frozenset[str]
    networks: frozenset[IPNetwork]

    def covers(self, host: str) -> bool:
        """Return whether `host`, a name or an address, is on the list."""
        address = numeric_address(host)
        if address is None:
            return any(fnmatch.fnmatchcase(host.lower().rstrip("."), pattern) for pattern in self.names)
        return any(plain_address(address) in network for network in self.networks)


def allow_list(entries: Collection[str]) -> AllowList | None:
    """Return the allow list of the entries, or `None` without entries. Raises `ValueError` for an invalid entry."""
    names, networks = set(), set()
    for entry in entries:
        try:
            networks.add(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            if "/" in entry or ":" in entry or not entry.strip():
                raise ValueError(f"{entry!r} is neither a host name nor an address nor a network.") from None
            names.add(entry.lower().rstrip("."))
    return AllowList(frozenset(names), frozenset(networks)) if entries else None


_allowed: AllowList | None = None
_own: set[str] = set()


def allow_only(allowed: AllowList | None) -> None:
    """Allow calls to these hosts only from now on. `None` allows all hosts again."""
    global _allowed
    _allowed = allowed


def trust(address: str) -> None:
    """Allow calls to this origin, such as the embedded model's `http://127.0.0.1:8080`, whatever the allow list."""
    _own.add(address)


def refusal_of_url(url: str) -> str | None:
    """Return the sentence that says why PromptOps never calls this URL, or `None` if it may.

    A name is not resolved here. Its address is checked when a connection is opened.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host.lower().rstrip(".") in METADATA_NAMES:
        return f"{host} is a cloud's metadata service, which PromptOps never calls."
    address = numeric_address(host)
    if address is not None and (problem := refusal(address)):
        return problem
    if _allowed is not None and f"{parts.scheme}://{parts.netloc}" not in _own and not _allowed.covers(host):
        return f"{host} is not on this installation's list of hosts that providers may have (PROVIDER_HOSTS)."
    return None


def refusal(address: IPAddress) -> str | None:
    """Return the sentence that says why PromptOps never connects to this IP address, or `None` if it may."""
    plain = plain_address(address)
    if plain in METADATA_ADDRESSES:
        return f"{plain} is a cloud's metadata service, which PromptOps never calls."
    if plain.is_link_local:
        return f"{plain} is a link-local address, which PromptOps never calls."
    if plain.is_multicast or plain == ipaddress.IPv4Address("255.255.255.255"):
        return f"{plain} is a multicast address, which PromptOps never calls."
    return None


def plain_address(address: IPAddress) -> IPAddress:
    """Return the IPv4 address in an IPv6 address (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def numeric_address(host: str) -> IPAddress | None:
    """Return the IP address that `host` spells, or `None` for a name.

    Reads every spelling that the operating system reads, such as `2852039166`, `0xA9FEA9FE` and `169.254.43518`.
    """
    try:
        info = socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)
        return ipaddress.ip_address(str(info[0][4][0]).partition("%")[0])
    except (OSError, UnicodeError, ValueError):
        return None


def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """Make the socket for one connection to a resolved address. Raises `ForbiddenAddressError` for a refused one."""
    family, type_, proto, _, target = info
    address = numeric_address(str(target[0]))
    if address is None:
        raise ForbiddenAddressError("The address of the connection is invalid.")
    if problem := refusal(address):
        raise ForbiddenAddressError(problem)
    return socket.socket(family=family, type=type_, proto=proto)


SocketFactory: TypeAlias = Callable[[tuple[Any, ...]], socket.socket]


def public_socket(host: str, private: AllowList | None) -> SocketFactory:
    """Return what makes the sockets of a call to `host` that may reach public addresses, and those of `private` only.

    It checks the resolved address of each connection, so a name that moves to a private address is refused.
    """

    def make(info: tuple[Any, ...]) -> socket.socket:
        address = numeric_address(str(info[4][0]))
        if address is not None and not _is_reachable(host, address, private):
            raise ForbiddenAddressError(f"{plain_address(address)} is a private address.")
        return guarded_socket(info)

    return make


def private_refusal_of_url(url: str, private: AllowList | None) -> str | None:
    """Return the sentence that says why a call that `public_socket` guards never reaches this URL, or `None`.

    A name is not resolved here.
    """
    host = urlsplit(url).hostname or ""
    if host.lower().rstrip(".") in METADATA_NAMES:
        return f"{host} is a cloud's metadata service, which PromptOps never calls."
    address = numeric_address(host)
    if address is None:
        return None
    if problem := refusal(address):
        return problem
    return None if _is_reachable(host, address, private) else f"{plain_address(address)} is a private address."


def _is_reachable(host: str, address: IPAddress, private: AllowList | None) -> bool:
    if plain_address(address).is_global:
        return True
    return private is not None and (private.covers(host) or private.covers(str(plain_address(address))))
