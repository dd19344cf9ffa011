"""Client addresses: where a request comes from, directly or through a proxy."""

from ipaddress import IPv6Address, ip_address

from django.conf import settings


def client_address(peer: str | None, forwarded: str | None) -> str:
    """Return the client's address, "" if it is none. `forwarded` is the header X-Forwarded-For.

    Behind a proxy the header's last entry counts, the one that the proxy itself has added: a client can invent the
    entries before it.
    """
    if settings.BEHIND_PROXY and forwarded is not None:
        peer = forwarded.rsplit(",", 1)[-1].strip()
    try:
        return str(ip_address(peer or ""))
    except ValueError:
        return ""


def client_network(address: str) -> str:
    """Return what limits per address count: an IPv4 address, or the /64 network of an IPv6 address.

    One customer usually gets a whole /64 (RFC 6177), so counting single IPv6 addresses would limit nobody.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
