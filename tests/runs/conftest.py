"""Fixtures of the tests of runs."""

import pytest

from promptops.runs.models import Attempt, Run

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def make_run(editor):
    def make(text: str = "a fox", *, attempts: int = 1, **fields) -> Run:
        defaults = {"source": "preview", "operation": "enhance", "user": editor, "temperature": 0.7}
        defaults |= {"max_tokens": 256, "revision": 7, "status": "succeeded", "output": "A red fox."}
        defaults |= {"provider": "groq", "latency_ms": 412.0}
        run = Run.objects.create(**(defaults | {"input": text} | fields))
        for position in range(1, attempts + 1):
            last = position == attempts
            Attempt.objects.create(
                run=run,
                position=position,
                provider=run.provider or "groq" if last else "cerebras",
                model="gpt-oss-120b",
                outcome=run.status if last else "failed",
                error_kind="" if last else "timeout",
                message="" if last else f"{HOSTILE} did not answer within 5 s.",
                started_ms=0 if position == 1 else 200,
                latency_ms=200,
                input_tokens=1234,
                output_tokens=56,
            )
        return run

    return make


@pytest.fixture
def client(client_for, viewer):
    return client_for(viewer)
