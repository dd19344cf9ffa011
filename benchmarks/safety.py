"""What the safety guard costs per text."""

from pathlib import Path
from typing import Any

from promptops.engine.safety import evaluation
from promptops.engine.safety.guard import SHIPPED, SafetyGuard, SafetyModel

DATA = Path(__file__).parents[1] / "tests" / "data" / "safety"


def bench_safety() -> list[dict[str, Any]]:
    """Milliseconds per text of each source."""
    guard = SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"))
    texts = evaluation.read_sets(DATA)
    rows = []
    for source in (evaluation.VIDEO, evaluation.ENHANCED, evaluation.IMAGE, evaluation.XSTEST):
        found = [item.text for item in texts if item.source == source]
        rows.append({"texts": source, "count": len(found), "ms per text": round(evaluation.cost(guard, found), 4)})
    return rows
