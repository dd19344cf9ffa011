"""What the engine's tests share without asking for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptops.engine.providers.adaptations import learned


@pytest.fixture(autouse=True)
def nothing_learned() -> Iterator[None]:
    """No test knows what another one's server refused: their addresses are alike."""
    learned.clear()
    yield
    learned.on_learned = None
    learned.clear()
