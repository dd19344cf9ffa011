"""The examples in docs/engine.md run as they stand."""

import re
from pathlib import Path

from promptops.engine import providers

DOCUMENT = Path(__file__).parents[2] / "docs" / "engine.md"


def test_the_examples_run(monkeypatch):
    monkeypatch.setattr(providers, "_factories", dict(providers.KINDS))
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert len(blocks) == 2
    namespace: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), namespace)
