"""The address that links on the command line begin with."""

from django.conf import settings


def server_address() -> str:
    """Where a browser on this machine reaches the server, such as http://127.0.0.1:8000."""
    host = settings.HOST
    # A server that listens everywhere is reached by the loopback address.
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{settings.PORT}"
