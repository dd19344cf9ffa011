"""The examples in docs/engine.md and docs/chain.md run unchanged, and the chain's table is complete."""

import re
from pathlib import Path

import pytest

from promptops.engine import FAULTS, POLICIES, operations
from promptops.engine.providers import kinds

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "examples"), [("engine.md", 7), ("chain.md", 2)])
def test_the_examples_run(monkeypatch, name, examples):
    monkeypatch.setattr(kinds, "_kinds", dict(kinds.KINDS))
    monkeypatch.setattr(operations, "_specs", dict(operations.OPERATIONS))
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.S)
    assert len(blocks) == examples
    namespace: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        exec(compile(block, name, "exec"), namespace)


def test_every_policy_and_fault_is_explained():
    text = (DOCS / "chain.md").read_text()
    assert [name for name in [*POLICIES, *FAULTS] if f"`{name}`" not in text] == []
