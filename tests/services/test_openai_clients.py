"""The openai Python client and curl against the OpenAI-compatible door of a real server."""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest

from tests.conftest import missing
from tests.engine.helpers import Respond, answer_with, http_answer, loopback
from tests.engine.helpers import completion as completion_of
from tests.services.server import make_database, manage, serving

PREPARE = """
from promptops.ledger.audit import SYSTEM
from promptops.people.actions.tokens import make_token
from tests.factories import make_provider, publish
from tests.api.running import deny
publish("enhance", "Enhance it.")
publish("auto_extend", "Go on.")
make_provider("p1", base_url="{url}")
make_provider("p2", base_url="{url}")
deny("evil fox")
print(make_token("tools", ["run"], by=SYSTEM)[1])
"""


async def respond(writer: asyncio.StreamWriter) -> None:
    """Answer in a stream where the request asks for one."""
    await answer_with(http_answer(completion_of("A red fox.")))(writer)


@contextmanager
def upstream(respond: Respond = respond) -> Iterator[str]:
    """Run a provider in a thread of its own, and return its URL."""
    started, ended = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with loopback(respond) as server:
            urls.append(server.url)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield urls[0]
    finally:
        ended.set()
        thread.join(10)


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A server with a live text, a provider, an enforced filter and a token: its base URL and the token."""
    folder = tmp_path_factory.mktemp("door")
    make_database(folder)
    key = "a key for tests that is long enough to be accepted"
    with upstream() as url:
        prepared = manage(folder, "shell", "-v", "0", "-c", PREPARE.format(url=url), SECRET_KEY=key)
        assert prepared.returncode == 0, prepared.stderr
        with serving(folder, SECRET_KEY=key) as server:
            yield f"{server.address}/v1", prepared.stdout.split()[-1]
        assert "Traceback" not in server.output


@pytest.fixture
def client(door) -> openai.OpenAI:
    return openai.OpenAI(base_url=door[0], api_key=door[1], max_retries=0)


def test_the_client_runs_lists_and_streams(client):
    assert "promptops/enhance" in [model.id for model in client.models.list()]
    assert client.models.retrieve("promptops/enhance").owned_by == "promptops"
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a fox"}]
    raw = client.chat.completions.with_raw_response.create(model="promptops/enhance", messages=asked, temperature=0)
    assert int(raw.headers["x-promptops-revision"]) > 0
    completion = raw.parse()
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("A red fox.", "stop")
    stream = client.chat.completions.create(
        model="promptops/enhance", messages=asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "A red fox."
    assert chunks[-1].usage is not None


def test_the_client_understands_the_errors(client, door):
    def ask(model: str = "promptops/enhance", text: str = "a fox", **more):
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)

    with pytest.raises(openai.NotFoundError) as unknown:
        ask("gpt-4")
    assert (unknown.value.code, unknown.value.param) == ("not-found", "model")
    with pytest.raises(openai.UnprocessableEntityError) as blocked:
        ask(text="an evil fox")
    assert blocked.value.code == "blocked"
    with pytest.raises(openai.UnprocessableEntityError):
        ask(text="an evil fox", stream=True)
    with pytest.raises(openai.UnprocessableEntityError):
        ask(n=2)
    stranger = openai.OpenAI(base_url=door[0], api_key="po_" + "a" * 43, max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def curl(door: tuple[str, str], path: str, sent: dict, *options: str) -> str:
    """Send JSON with curl and return what it prints."""
    if not shutil.which("curl"):
        missing("curl is not installed")
    command = ["curl", "-sS", "-N", "--max-time", "20", *options, "-H", f"Authorization: Bearer {door[1]}"]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps(sent), door[0].removesuffix("/v1") + path]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def test_curl_runs_and_streams(door):
    chat = {"model": "promptops/enhance", "messages": [{"role": "user", "content": "a fox"}]}
    answer = json.loads(curl(door, "/v1/chat/completions", chat))
    assert answer["choices"][0]["message"]["content"] == "A red fox."
    streamed_text = curl(door, "/v1/chat/completions", chat | {"stream": True})
    assert streamed_text.rstrip().endswith("data: [DONE]")
    events = curl(door, "/api/v1/run/enhance", {"input": "a fox"}, "-H", "Accept: text/event-stream")
    assert events.rstrip().splitlines()[-2] == "event: done"
    curated = json.loads(curl(door, "/api/v1/curate", {"prompts": ["a fox", "an evil fox"]}))
    assert [result["status"] for result in curated["results"]] == ["succeeded", "blocked"]
    assert curated["first_blocked"] == 1
