"""`python -m promptops.engine.safety.trainer RUBRIC FOLDER TARGET [SETS]`: train in a process of its own.

Evaluates the model on the evaluation sets in the folder SETS, where they are, at its own thresholds. Prints the name of
each step as it begins, writes `outcome.json` beside the model, and ends when its standard input does, so that it never
outlives who asked for it. fastText holds Python's lock while it trains.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from promptops.engine.safety.evaluation import evaluate, read_sets
from promptops.engine.safety.guard import SafetyModel
from promptops.engine.safety.training import Step, train

OUTCOME = "outcome.json"


def main(rubric: str, folder: str, target: str, sets: str = "") -> None:
    """Train; whatever is wrong is the last line on standard error."""
    os.nice(10)  # the show goes first
    threading.Thread(target=_end_with_input, daemon=True).start()
    done = train(rubric, folder, target=float(target), promote_worse=True, told=lambda step: print(step, flush=True))
    outcome: dict[str, Any] = {"manifest": done.manifest.name, "before": vars(done.before) if done.before else None}
    if sets and done.changed:
        print(Step.COMPARE, flush=True)
        try:
            outcome["evaluation"] = evaluate(SafetyModel.from_manifest(done.manifest), read_sets(Path(sets)))
        except OSError:  # only a checkout has the sets
            outcome["evaluation"] = None
    (Path(folder) / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
