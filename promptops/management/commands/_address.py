"""The address that links on the command line begin with."""

from django.conf import settings


def server_address() -> str:
    """Return the address of the server for a browser on this machine, such as http://127.0.0.1:8000."""
    host = settings.HOST
    # A server that listens on all addresses also has the loopback address.
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{settings.PORT}"
