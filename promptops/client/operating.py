"""The operations of a server, on what is live or on a session's pin: the surface of `PromptEnhancer`, and more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from promptops.client.contents import Content
from promptops.client.results import BlockedText, CuratedPrompt, Curation, LiveResponse
from promptops.client.runs import Runner, Wishes, plan_run
from promptops.client.sessions import Pins, Policy
from promptops.engine.errors import LLMProviderError
from promptops.engine.live_runs import Input
from promptops.engine.operations import OnFailure
from promptops.engine.snapshot import Snapshot
from promptops.engine.types import PromptOperation

MAX_CURATED = 64


class Operating:
    """The operations. `_content` returns what the next run uses, from memory."""

    _runner: Runner

    def _content(self) -> Content:
        raise NotImplementedError

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration that the next run uses."""
        return self._content().snapshot

    async def enhance(self, prompt: str) -> LiveResponse:
        """Return a richer version of `prompt`. Raises like `run`."""
        return await self.run(PromptOperation.ENHANCE.value, prompt)

    async def auto_extend(self, prior_prompts: Sequence[str]) -> LiveResponse:
        """Return the prompt that continues `prior_prompts`, oldest first. Raises like `run`."""
        return await self.run(PromptOperation.AUTO_EXTEND.value, "\n".join(prior_prompts))

    async def rewrite(
        self, seed_prompt: str, *, count: int | None = None, temperature: float | None = None
    ) -> LiveResponse:
        """Return alternatives to `seed_prompt`, one a line. Raises like `run`."""
        wishes = Wishes(count=count, temperature=temperature)
        return await self._run(PromptOperation.REWRITE.value, seed_prompt, wishes)

    async def run(
        self,
        operation: str,
        input: Input | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        count: int | None = None,
        template: str | None = None,
        deadline_ms: float | None = None,
        on_failure: OnFailure | None = None,
    ) -> LiveResponse:
        """Run any live operation on a text, a list of prompts, or `fields` by name.

        `template` replaces the operation's default template. `deadline_ms` is the time of the whole run. `on_failure`
        replaces the operators' choice. Raises `ValueError` for an input that the operation cannot take,
        `LLMProviderError` if nobody answered (`KeepRunning` if the stream should keep what runs), and `BlockedText`.
        """
        if (input is None) == (fields is None):
            raise ValueError("Give the input or the fields, and not both")
        wishes = Wishes(count=count, template=template, deadline_ms=deadline_ms, on_failure=on_failure)
        return await self._run(operation, fields if input is None else input, wishes)  # type: ignore[arg-type]

    async def curate(
        self,
        prompts: Sequence[str],
        *,
        operation: str = PromptOperation.ENHANCE.value,
        template: str | None = None,
        deadline_ms: float | None = None,
        on_failure: OnFailure | None = None,
    ) -> Curation:
        """Judge and run up to 64 prompts of a session's start at once, under one deadline.

        Returns one result for each prompt, in order. Raises `ValueError` if one of them cannot be run at all.
        """
        if not 1 <= len(prompts) <= MAX_CURATED:
            raise ValueError(f"Give 1 to {MAX_CURATED} prompts, not {len(prompts)}")
        content, began = self._content(), time.monotonic()
        wishes = Wishes(template=template, deadline_ms=deadline_ms, on_failure=on_failure)
        plans = [plan_run(content, operation, prompt, wishes) for prompt in prompts]

        async def one(number: int) -> CuratedPrompt:
            plan, prompt = plans[number], prompts[number]
            left_ms = max(1.0, plan.deadline_ms - (time.monotonic() - began) * 1000)
            try:
                response = await self._runner.run(replace(plan, wishes=replace(wishes, deadline_ms=left_ms)))
            except BlockedText as blocked:
                return CuratedPrompt(prompt, "blocked", error=str(blocked))
            except LLMProviderError as error:
                return CuratedPrompt(prompt, "failed", error=str(error))
            return CuratedPrompt(prompt, "unchanged" if response.unchanged else "succeeded", response, response.note)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(len(prompts))]
        return Curation(tuple(task.result() for task in tasks))

    async def _run(self, operation: str, given: Input, wishes: Wishes) -> LiveResponse:
        return await self._runner.run(plan_run(self._content(), operation, given, wishes))


class Session(Operating):
    """One viewer's session. It keeps its texts, settings and contracts as its policy says."""

    def __init__(self, id: str, policy: Policy, pins: Pins, runner: Runner) -> None:
        self.id, self.policy = id, policy
        self._pins, self._runner = pins, runner
        pins.begin(id, policy)

    @property
    def revision(self) -> int:
        """Return the revision of the texts that the session's next run uses."""
        return self.snapshot.revision

    def next_segment(self) -> None:
        """Begin a segment. A session with the policy "segment" moves on to what is live now."""
        if self.policy == "segment":
            self._pins.move_on(self.id)

    def end(self) -> None:
        """Forget the pin. It is forgotten by itself after half an hour without a run."""
        self._pins.end(self.id)

    def _content(self) -> Content:
        return self._pins.content(self.id, self.policy)
