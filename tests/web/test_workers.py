"""The bound on requests in progress, and the answer to requests beyond it."""

import asyncio
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.sessions.backends.db import SessionStore

from promptops.people import passwords
from promptops.web import workers
from promptops.web.workers import Workers, with_workers


class Application:
    """An application that stays in its thread until it is released."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: list[int] = []

    def _work(self) -> None:
        self.threads.append(threading.get_ident())
        self.go.wait(5)

    async def __call__(self, scope, receive, send) -> None:
        await sync_to_async(self._work)()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(application, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    """Return the status, the headers and the text of the application's answer."""
    sent = []

    async def send(message) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await application({"type": "http", "method": method, "path": path, "headers": named}, None, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def test_no_more_than_its_threads_work_at_once_and_they_are_used_again():
    slow, two = Application(), Workers(2)
    requests = [asyncio.create_task(ask(lambda *call: two.answer(slow, *call))) for _ in range(6)]
    await asyncio.sleep(0.2)
    assert len(slow.threads) == 2
    slow.go.set()
    assert [status for status, _, _ in await asyncio.gather(*requests)] == [200] * 6
    assert len(set(slow.threads)) == 2


async def test_a_full_queue_and_a_long_wait_are_503_with_retry_after():
    slow, one = Application(), Workers(1, max_waiting=1, max_wait=0.2)

    async def application(*call) -> None:
        await one.answer(slow, *call)

    first = asyncio.create_task(ask(application))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(ask(application, hx_request="true"))
    await asyncio.sleep(0.05)
    status, headers, text = await ask(application)
    assert (status, headers["retry-after"], headers["cache-control"]) == (503, "5", "no-store")
    assert "<h1>Temporarily unavailable</h1>" in text
    assert "The server is busy." in text
    status, headers, text = await second
    assert (status, headers["content-type"]) == (503, "text/plain; charset=utf-8")
    assert text.startswith("The server is busy.")
    slow.go.set()
    assert (await first)[0] == 200
    assert (await ask(application))[0] == 200


async def test_a_health_check_is_answered_while_every_worker_is_taken():
    slow = Application()

    async def pages(scope, receive, send) -> None:
        if scope["path"] == "/":
            await slow(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 204, "headers": []})

    application = with_workers(pages, 1)
    waiting = [asyncio.create_task(ask(application)) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert [(await ask(application, path))[0] for path in ("/healthz", "/static/app.css")] == [204] * 2
    slow.go.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("method", ["POST", "post"])
async def test_sign_ins_that_wait_hold_no_worker_and_beyond_their_queue_503_comes_at_once(monkeypatch, method):
    slow = Application()

    async def pages(scope, receive, send) -> None:
        if scope["path"] == "/sign-in/" and scope["method"] != "GET":
            await slow(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 204, "headers": []})

    monkeypatch.setattr(workers, "PASSWORDS_WAITING", 3)
    application = with_workers(pages, 1)
    waiting = [asyncio.create_task(ask(application, "/sign-in/", method)) for _ in range(passwords.AT_ONCE + 3)]
    await asyncio.sleep(0.1)
    pages = [("/", "GET"), ("/sign-in/", "GET"), ("/sign-out/", "POST"), ("/nowhere/", "POST")]
    assert [(await ask(application, *page))[0] for page in pages] == [204] * 4
    began = time.monotonic()
    for _ in range(50):
        status, headers, text = await ask(application, "/sign-in/", method)
        assert (status, headers["retry-after"]) == (503, "5")
        assert "Many people are signing in" in text
    assert time.monotonic() - began < 1
    assert len(slow.threads) == passwords.AT_ONCE
    slow.go.set()
    assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * (passwords.AT_ONCE + 3)
    assert len(set(slow.threads)) == passwords.AT_ONCE


@pytest.mark.django_db(transaction=True)
async def test_error_pages_use_no_database_in_a_thread_beside_the_workers(monkeypatch):
    threads = []
    load = SessionStore.load
    monkeypatch.setattr(
        SessionStore, "load", lambda store: threads.append(threading.current_thread().name) or load(store)
    )
    from promptops.asgi import django_application

    application = with_workers(django_application, 2)
    scope = {"type": "http", "method": "GET", "path": "/nothing-here/", "query_string": b"", "headers": []}
    scope["headers"] = [(b"host", b"testserver"), (b"cookie", b"sessionid=" + b"x" * 32)]
    caller = ApplicationCommunicator(application, scope)
    await caller.send_input({"type": "http.request"})
    assert (await caller.receive_output(5))["status"] == 404
    await caller.receive_output(5)
    await caller.wait()
    assert all(name.startswith("request") for name in threads)
