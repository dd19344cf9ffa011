"""A real browser at the real product: Daphne in a thread of this process, Chromium through Playwright.

Actions that a test calls itself reach open pages as a change by another process would: through `live.follow()`, within
half a second. What pages do to each other travels over the sockets at once.
"""

import asyncio
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import daphne.server  # before anything touches Twisted's reactor
import pytest
from channels.layers import get_channel_layer
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Route, WebSocket, expect, sync_playwright

from benchmarks import chromium
from promptops.asgi import application
from promptops.engine import close_client
from promptops.people.models import User
from promptops.platform import background, events
from tests.browser.upstream import Upstream
from tests.conftest import missing

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
# Pictures take a third of the browsers' time: `make test SCREENSHOTS=1` takes them all, `make test` those of the walk.
PICTURES = os.environ.get("SCREENSHOTS") == "1"
WIDTHS = {1440: 900, 390: 844}
SCHEMES = ("light", "dark")
WAIT_MS = 20_000
"""At a sixth of the usual speed, a page took 7 s to show a release."""
PAUSE = 0.35
"""Seconds in which a browser shows what has arrived."""

Routes = dict[str | re.Pattern[str], Callable[[Route], object]]

expect.set_options(timeout=WAIT_MS)


class Site:
    """The product on a loopback port. A reactor cannot be started twice, so there is one for the whole test run."""

    def __init__(self) -> None:
        self.takes_sockets = True
        self.pauses_at: float | None = None
        """The part of a page's bytes, 0 to 1, after which the rest comes `PAUSE` later, as over a slow network."""
        self._calls: dict[asyncio.Task[None], str] = {}
        self._server = daphne.server.Server(
            application=self._call,
            endpoints=["tcp:port=0:interface=127.0.0.1"],
            signal_handlers=False,
            verbosity=0,
            websocket_timeout=-1,
        )
        ready = threading.Event()
        self._server.ready_callable = ready.set
        threading.Thread(target=self._server.run, name="daphne", daemon=True).start()
        assert ready.wait(WAIT_MS / 1000)
        _, port = self._server.listening_addresses[0]
        self.url = f"http://127.0.0.1:{port}"

    async def _call(self, scope, receive, send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._calls[task] = scope["type"]
        try:
            if scope["type"] == "websocket" and not self.takes_sockets:
                await send({"type": "websocket.close"})
            else:
                await application(scope, receive, send if self.pauses_at is None else self._slowly(send))
        finally:
            del self._calls[task]

    def _slowly(self, send):
        is_page = False

        async def slow(message) -> None:
            nonlocal is_page
            if message["type"] == "http.response.start":
                is_page = dict(message["headers"]).get(b"Content-Type", b"").startswith(b"text/html")
            elif is_page and message.get("body") and self.pauses_at is not None:
                body = message["body"]
                cut = int(len(body) * self.pauses_at)
                await send({"type": "http.response.body", "body": body[:cut], "more_body": True})
                await asyncio.sleep(PAUSE)
                message = message | {"body": body[cut:]}
            await send(message)

        return slow

    def drop_sockets(self, *, refuse: bool = False) -> None:
        """Cut every socket, as a restart or a broken network would; with `refuse`, until `accept_sockets()`."""
        self.takes_sockets = not refuse
        self._in_loop(self._drop_sockets())

    def accept_sockets(self) -> None:
        self.takes_sockets = True

    def tell(self, event: str, number: int) -> None:
        """Send a hint, as an action in this server would."""
        self._in_loop(get_channel_layer().group_send(events.PAGES, events.message(event, number)))

    def rest(self) -> None:
        """Wait until every call has ended, and end the background tasks: the database is about to be emptied."""
        self.takes_sockets = True
        self.pauses_at = None
        self._in_loop(self._rest())

    def close(self) -> None:
        """Close the connections to providers; open ones would cause warnings at the end of the test run."""
        self._in_loop(close_client())

    async def _drop_sockets(self) -> None:
        for protocol in list(self._server.connections):
            if hasattr(protocol, "serverReject"):  # a socket's protocol, not a request's
                protocol.transport.abortConnection()

    async def _rest(self) -> None:
        if self._calls:
            await asyncio.wait(list(self._calls))
        await background.stop()

    def _in_loop(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, daphne.server.twisted_loop).result(WAIT_MS / 1000)


class Gate:
    """Handles the requests of a route: they go on to the server until a test sets `handler`.

    A route must be there before the document: on a busy machine Chromium sends the first request after a later one
    past it.
    """

    def __init__(self) -> None:
        self.open()

    def __call__(self, route: Route) -> None:
        self.handler(route)

    def open(self) -> None:
        """Let all requests go on."""
        self.handler: Callable[[Route], object] = Route.continue_

    def fail(self) -> None:
        """Answer as a server with an error does."""
        self.handler = failing

    def once(self, handler: Callable[[Route], object]) -> None:
        """Give the next request to `handler`, and let the others go on."""

        def handle(route: Route) -> None:
            self.open()
            handler(route)

        self.handler = handle


def failing(route: Route) -> None:
    """Answer as a server with an error does."""
    route.fulfill(status=500)


class Pages:
    """Opens the pages of one test, each in a browser profile of its own, and collects their errors."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url
        self.errors: list[str] = []
        self.closing = False
        self.expected: list[str] = []
        self.contexts: list[BrowserContext] = []
        self.sockets: dict[Page, WebSocket] = {}
        self.heard: set[WebSocket] = set()

    def open(self, path: str = "/", user: User | None = None, routes: Routes | None = None, **options) -> Page:
        """Return a page at `path`, signed in as `user` if given; `options` are those of a browser context.

        `routes` are handlers by address; see `Gate` for one that is to do nothing at first.
        """
        options = {"viewport": {"width": 1440, "height": WIDTHS[1440]}, "reduced_motion": "reduce"} | options
        context = self.browser.new_context(base_url=self.url, timezone_id="Europe/Zurich", **options)
        context.set_default_timeout(WAIT_MS)
        self.contexts.append(context)
        if user is not None:
            sign_in(context, self.url, user)
        context.on("page", self._watch)
        page = context.new_page()
        for address, handler in (routes or {}).items():
            page.route(address, handler)
        page.goto(path)
        return page

    def connected(self, page: Page) -> Page:
        """Return the same page once its socket is open and has the newest counters."""
        while page not in self.sockets:
            page.wait_for_event("websocket")
        if self.sockets[page] not in self.heard:
            self.sockets[page].wait_for_event("framereceived")
        return page

    def expect_errors(self, *patterns: str) -> None:
        """Allow console errors that this test causes on purpose (regular expressions)."""
        self.expected += patterns

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(re.search(pattern, error) for pattern in self.expected)]

    def close(self) -> None:
        self.closing = True  # a request that closing cuts off is not an error of the page
        for context in self.contexts:
            context.close()

    def _watch(self, page: Page) -> None:
        # Chromium reports what its content security policy refuses as a console error, too.
        page.on(
            "console", lambda said: said.type == "error" and self._note(page, f"{said.text} {said.location['url']}")
        )
        page.on("pageerror", lambda error: self._note(page, f"{error.message} {error.stack}"))
        page.on("websocket", lambda socket: self._meet(page, socket))

    def _note(self, page: Page, error: str) -> None:
        if not self.closing:
            self.errors.append(f"{page.url}: {error}")

    def _meet(self, page: Page, socket: WebSocket) -> None:
        self.sockets[page] = socket
        socket.on("framereceived", lambda _: self.heard.add(socket))


def sign_in(context: BrowserContext, url: str, user: User) -> None:
    """Give the context a session of `user`."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])


def screenshot(page: Page, name: str, *, full_page: bool = True, always: bool = False) -> None:
    """Take pictures of the page at both widths and in both themes, in /screenshots (not in git); see `PICTURES`."""
    if not (always or PICTURES):
        return
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            _shoot(page, f"{name}-{width}-{scheme}", full_page)
    page.set_viewport_size({"width": 1440, "height": WIDTHS[1440]})
    page.emulate_media(color_scheme="light")


def snap(page: Page, name: str, *, full_page: bool = True) -> None:
    """Take one picture of the page as it is; see `PICTURES`."""
    if PICTURES:
        _shoot(page, name, full_page)


def _shoot(page: Page, name: str, full_page: bool) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    # Hiding the caret would leave style attributes behind, which htmx then copies against the security policy.
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page, caret="initial")


@pytest.fixture(scope="session")
def _server() -> Iterator[Site]:
    # The server would import it with its first contract. Beside a package that only tests need, rfc3987-syntax, that
    # takes seconds of processor time, which the first page with a contract would wait for.
    import_module("jsonschema")
    found = Site()
    yield found
    found.close()


@pytest.fixture
def site(_server: Site, transactional_db: None) -> Iterator[Site]:
    """Yield the running product, and wait until it rests before the test's database is emptied."""
    yield _server
    _server.rest()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Yield Chromium, one for this package: while Playwright runs, no other event loop can run in this thread."""
    path = chromium.path()
    if path is None:
        missing(chromium.MISSING)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=chromium.FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def pages(browser: Browser, site: Site, caplog: pytest.LogCaptureFixture) -> Iterator[Pages]:
    """Yield what opens pages. An error in a console, a script or the server's log fails the test."""
    opened = Pages(browser, site.url)
    yield opened
    opened.close()
    site.rest()
    records = caplog.get_records("call") + caplog.get_records("teardown")
    logged = [record.getMessage() for record in records if record.levelno >= logging.ERROR]
    wrong = opened.unexpected() + logged
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def page_for(pages: Pages) -> Callable[..., Page]:
    """Return `page_for(user, "/prompts/")`, which opens a page in a profile of its own, signed in."""
    return lambda user, path="/", **options: pages.open(path, user, **options)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Yield an OpenAI-compatible server for a provider's address."""
    server = Upstream()
    yield server
    server.close()
