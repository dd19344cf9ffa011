"""Comparisons that the real runner works off, for several test modules."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import asynccontextmanager

from channels.db import database_sync_to_async

from promptops.compare.actions import comparisons
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.actions.trials import Runner
from promptops.compare.models import Comparison, Trial
from promptops.engine.types import PromptOperation
from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.models import User
from promptops.prompts.actions.releases import Content
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.providers.models import Provider

ANSWER = json.dumps({"choices": [{"message": {"content": "A red fox."}, "finish_reason": "stop"}]})
BY = Actor("Tests")


async def prepare(publish, *urls: str, inputs: int = 3, **fields) -> Comparison:
    """Start a comparison of one version on several providers, by a person."""

    def work():
        by = Actor.person(User.objects.create(username="eddie", name="Eddie", role="editor"))
        version = publish("enhance", "Polish it.")
        for number, url in enumerate(urls, start=1):
            create_provider(ProviderFields(f"p{number}", "openai", f"m{number}", url, **fields), by=BY)
        return comparisons.start(
            "Which provider",
            PromptOperation.ENHANCE,
            [f"a fox, number {number}" for number in range(inputs)],
            [
                ArmChoice(version.template, version, Content(**version.content), provider)
                for provider in Provider.objects.all()
            ],
            by=by,
            snapshot=live.load(),
            inputs_from="Foxes",
        )

    return await database_sync_to_async(work)()


@asynccontextmanager
async def running(count: int = 1, clock: Callable[[], float] = time.monotonic):
    tasks = [asyncio.create_task(Runner(clock).run()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await database_sync_to_async(condition)():  # noqa: ASYNC110 -- what the database says, in a test
            await asyncio.sleep(0.02)


async def ended(comparison: Comparison) -> None:
    await until(lambda: Comparison.objects.get(pk=comparison.pk).state == "done")


async def states(comparison: Comparison) -> list[tuple[int, str]]:
    rows = Trial.objects.filter(comparison=comparison).order_by("arm", "input")
    return [row async for row in rows.values_list("arm__position", "state")]
