"""Fixtures of the machine interface: tokens, and a client that calls the application as the server does."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync

from promptops.api import limits
from promptops.people import tokens
from promptops.people.actions.tokens import make_token


class Machine:
    """A client with a token, for tests that are not coroutines."""

    def __init__(self, text: str = "", address: str = "192.0.2.9") -> None:
        self.headers = {"Authorization": f"Bearer {text}"} if text else {}
        self.address = address

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request through the whole door of the interface."""
        return async_to_sync(self.arequest)(method, url, **options)

    async def arequest(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request, in a coroutine."""
        from promptops.api.app import machines

        headers = self.headers | options.pop("headers", {})
        transport = httpx.ASGITransport(machines, client=(self.address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(method, url, headers=headers, **options)

    def get(self, url: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        """Send a POST."""
        return self.request("POST", url, **options)


@pytest.fixture(autouse=True)
def _no_tokens_in_memory() -> Iterator[None]:
    tokens.forget_all()
    limits.by_token.clear()
    limits.by_network.clear()
    yield
    tokens.forget_all()


@pytest.fixture
def machine(actor) -> Callable[..., Machine]:
    """`machine("read", name=...)`: a client with a new token of these scopes."""

    def make(*scopes: str, name: str = "fleet", **options: Any) -> Machine:
        return Machine(make_token(name, scopes, by=actor, **options)[1])

    return make
