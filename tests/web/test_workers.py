"""How many requests are worked on at once, and what those get that find no place."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.sessions.backends.db import SessionStore

from promptops.web.workers import Workers, with_workers


class Application:
    """An application that stays in its thread until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: list[int] = []

    def _work(self) -> None:
        self.threads.append(threading.get_ident())
        self.go.wait(5)

    async def __call__(self, scope, receive, send) -> None:
        await sync_to_async(self._work)()
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(application, path: str = "/", **headers: str) -> tuple[int, dict[str, str], str]:
    """The status, the headers and the text that the application answers."""
    sent = []

    async def send(message) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await application({"type": "http", "path": path, "headers": named}, None, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def test_no_more_than_its_threads_work_at_once_and_they_are_used_again():
    slow, workers = Application(), Workers(2)
    asked = [asyncio.create_task(ask(lambda *call: workers.answer(slow, *call))) for _ in range(6)]
    await asyncio.sleep(0.2)
    assert len(slow.threads) == 2
    slow.go.set()
    assert [status for status, _, _ in await asyncio.gather(*asked)] == [200] * 6
    assert len(set(slow.threads)) == 2


async def test_who_finds_the_queue_full_or_waits_too_long_is_told_when_to_come_again():
    slow, workers = Application(), Workers(1, max_waiting=1, max_wait=0.2)

    async def application(*call) -> None:
        await workers.answer(slow, *call)

    first = asyncio.create_task(ask(application))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(ask(application, hx_request="true"))
    await asyncio.sleep(0.05)
    status, headers, text = await ask(application)
    assert (status, headers["retry-after"], headers["cache-control"]) == (503, "5", "no-store")
    assert "<h1>Unavailable for the moment</h1>" in text
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


@pytest.mark.django_db(transaction=True)
async def test_error_pages_ask_no_database_in_a_thread_beside_the_workers(monkeypatch):
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
