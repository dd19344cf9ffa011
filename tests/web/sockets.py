"""A page's socket through the whole ASGI application, as a browser opens it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client

from promptops.asgi import application
from promptops.people.models import User
from promptops.platform import background
from promptops.platform.draining import gate


@asynccontextmanager
async def page_socket(
    user: User | None, origin: str = "http://testserver", client: Client | None = None
) -> AsyncIterator[WebsocketCommunicator | None]:
    """Yield the connected socket of a page of `user`, or None if the server refuses it."""
    headers = [(b"origin", origin.encode()), (b"host", b"testserver")]
    if user is not None or client is not None:
        client = client or Client()
        if user is not None:
            await database_sync_to_async(client.force_login)(user, backend="django.contrib.auth.backends.ModelBackend")
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    socket = WebsocketCommunicator(application, "/ws/", headers=headers)
    connected, _ = await socket.connect(timeout=5)
    try:
        yield socket if connected else None
    finally:
        if connected:
            await socket.disconnect()
        await background.stop()
        await gate.emptied(10)  # the runs of the closed page are being recorded
