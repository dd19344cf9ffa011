"""`python -m promptops.engine.safety.trainer RUBRIC FOLDER TARGET [SETS]`: train in a process of its own.

Evaluates the model at its own thresholds on the evaluation sets in the folder SETS, if they exist. Prints the name of
each step as it begins and writes `outcome.json` beside the model. Ends when its standard input does, so that it never
outlives its parent process. It is a process of its own because fastText holds Python's lock while it trains.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from promptops.engine.safety.evaluation import evaluate, read_sets
from promptops.engine.safety.fasttext_classifier import SafetyModel
from promptops.engine.safety.fitting import Step
from promptops.engine.safety.training import train

OUTCOME = "outcome.json"


def main(rubric: str, folder: str, target: str, sets: str = "") -> None:
    """Train. After a failure, the last line on standard error is the reason."""
    os.nice(10)  # live traffic has priority
    threading.Thread(target=_end_with_input, daemon=True).start()
    trained = train(
        rubric, folder, target=float(target), promote_worse=True, on_step=lambda step: print(step, flush=True)
    )
    before = vars(trained.before) if trained.before else None
    outcome: dict[str, Any] = {"manifest": trained.manifest.name, "before": before}
    if sets and trained.changed:
        print(Step.COMPARE, flush=True)
        try:
            outcome["evaluation"] = evaluate(SafetyModel.from_manifest(trained.manifest), read_sets(Path(sets)))
        except OSError:  # only the repository has the sets
            outcome["evaluation"] = None
    (Path(folder) / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
