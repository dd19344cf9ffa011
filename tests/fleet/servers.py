"""Servers of tests: rows, and the messages that a server sends."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from promptops.fleet.messages import Applied, Heartbeat, Register
from promptops.fleet.models import Server
from promptops.ledger.models import LiveConfiguration

SHA = "ab" * 32


def save_server(name: str = "gpu-7", *, silent_for: float = 0, connected_for: float = 3600, **fields: Any) -> Server:
    """Save a server that runs what is live. Times are in seconds before now."""
    server = unsaved_server(name, silent_for=silent_for, connected_for=connected_for, **fields)
    server.save()
    return server


def unsaved_server(name: str = "gpu-7", *, silent_for: float = 0, connected_for: float = 3600, **fields: Any) -> Server:
    """Return a server that runs what is live. Times are in seconds before now."""
    now = timezone.now()
    config = LiveConfiguration.objects.get()
    defaults = {
        "instance": "1",
        "kind": "library",
        "version": "0.2.0",
        "revision": config.revision,
        "epoch": config.epoch,
        "sha256": SHA,
        "state": "ready",
        "is_filtered": True,
        "since": now - timedelta(seconds=connected_for),
        "first_heard_at": now - timedelta(seconds=connected_for),
        "connected_at": now - timedelta(seconds=connected_for),
        "heard_at": now - timedelta(seconds=silent_for),
    }
    return Server(name=name, **defaults | fields)


def runs(document: Any, **more: Any) -> dict[str, Any]:
    """Return the content that a server runs, as its messages name it."""
    return {"revision": document.revision, "epoch": document.epoch, "sha256": document.sha256, **more}


def register(name: str = "gpu-7", instance: str = "1", **more: Any) -> Register:
    """Return the message of a server that runs nothing yet."""
    fields = {"kind": "library", "state": "ready", "version": "0.2.0", "filtered": True, "revision": None}
    return Register(server=name, instance=instance, **fields | more)


def applied(document: Any, **more: Any) -> Applied:
    """Return the message of a server that runs the document now."""
    return Applied(**runs(document, **more))


def heartbeat(document: Any, **more: Any) -> Heartbeat:
    """Return the message of a server that still runs the document."""
    return Heartbeat(**runs(document, **{"state": "ready", **more}))
