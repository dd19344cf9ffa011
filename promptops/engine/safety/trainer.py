"""`python -m promptops.engine.safety.trainer RUBRIC FOLDER TARGET`: train in a process of its own.

Prints the name of each step as it begins, writes `outcome.json` beside the model, and ends when its standard input
does, so that it never outlives who asked for it. fastText holds Python's lock while it trains.
"""

import json
import os
import sys
import threading
from pathlib import Path

from promptops.engine.safety.training import train

OUTCOME = "outcome.json"


def main(rubric: str, folder: str, target: str) -> None:
    """Train; whatever is wrong is the last line on standard error."""
    os.nice(10)  # the show goes first
    threading.Thread(target=_end_with_input, daemon=True).start()
    done = train(rubric, folder, target=float(target), promote_worse=True, told=lambda step: print(step, flush=True))
    before = vars(done.before) if done.before else None
    outcome = {"manifest": done.manifest.name, "metrics": vars(done.metrics), "before": before}
    (Path(folder) / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")


def _end_with_input() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
