"""Client addresses of requests and sockets, direct or through a proxy, and the address of this installation.

Addresses of providers belong to the engine.
"""

from ipaddress import IPv6Address, ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def address_of(peer: str | None, forwarded: str | None) -> str:
    """Return the client's address; "" if it is invalid. `forwarded` is the header X-Forwarded-For.

    Behind a proxy, the header's last entry counts. The proxy itself added it; a client can invent the entries before.
    """
    if settings.BEHIND_PROXY and forwarded is not None:
        peer = forwarded.rsplit(",", 1)[-1].strip()
    try:
        return str(ip_address(peer or ""))
    except ValueError:
        return ""


def client_network(address: str) -> str:
    """Return the network that limits per address count: an IPv4 address, or the /64 network of an IPv6 address.

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


def client_address(request: HttpRequest) -> str:
    """Return the address of a request's client; "" if it is invalid."""
    return address_of(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR"))


def socket_address(scope: dict[str, Any]) -> str:
    """Return the address of a socket's client, from its ASGI scope; "" if it is invalid."""
    forwarded = dict(scope["headers"]).get(b"x-forwarded-for")
    return address_of((scope.get("client") or [""])[0], forwarded and forwarded.decode("latin-1"))


def server_address() -> str:
    """Return the address of the server for a browser on this machine, such as http://127.0.0.1:8000."""
    host = settings.HOST
    # A server that listens on all addresses also has the loopback address.
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{settings.PORT}"


def public_address() -> str:
    """Return the address that links outside of the browser begin with: PUBLIC_ADDRESS, or that of the server."""
    return settings.PUBLIC_ADDRESS or server_address()
