"""Training a new model of the safety filter from the rubric and what people reviewed. It goes live by a release only.

fastText holds Python's lock while it trains, so that happens in a process of its own, outside of any transaction.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from promptops import audit, guards
from promptops.actions.errors import Refused
from promptops.audit import Actor
from promptops.engine.safety.guard import MAX_BYTES
from promptops.engine.safety.normalize import words
from promptops.engine.safety.training import (
    HARD,
    RUBRIC,
    TARGET,
    Metrics,
    Row,
    calibrate,
    read_rubric,
    worse_than,
)
from promptops.models import SafetyExample, SafetyModelVersion, SafetySettings

LONGEST_SECONDS = 120
# What the other process runs: its arguments are the rubric, an empty folder and the target.
_TRAIN = (
    "import sys; from promptops.engine.safety.training import train; "
    "train(sys.argv[1], sys.argv[2], target=float(sys.argv[3]), promote_worse=True)"
)


def train(
    *, by: Actor, rubric: Path = RUBRIC, target: float = TARGET, allow_worse: bool = False, note: str = ""
) -> SafetyModelVersion:
    """Train and keep a new version, which is not live yet. Takes seconds; call it in a thread, in no transaction.

    `target` is the share of ordinary harmless texts that its thresholds may block. Raises Refused when it is worse on
    the held-out texts than the live model (unless `allow_worse`), is the same as one that there is, or fails.
    """
    try:
        rows = read_rubric(rubric)
    except (OSError, ValueError) as error:
        raise Refused(f"The rubric cannot be read: {error}.") from None
    examples = _examples()
    rows = _together(rows, examples)
    with tempfile.TemporaryDirectory() as scratch:
        manifest, data = _train(rows, Path(scratch), target)
    metrics, before = Metrics(**manifest["held_out"]), _live_metrics(rows, target)
    if before and not allow_worse and (worse := worse_than(metrics, before)):
        raise Refused(f"The new model is worse on the held-out texts ({worse}), so it is not kept.")
    if len(data) > guards.MAX_MODEL_BYTES:
        raise Refused(f"The new model has {len(data):,} bytes; at most {guards.MAX_MODEL_BYTES:,} are kept.")
    return _keep(manifest, data, len(examples), by=by, note=note)


@transaction.atomic
def _keep(manifest: dict[str, Any], data: bytes, examples: int, *, by: Actor, note: str) -> SafetyModelVersion:
    sha256 = hashlib.sha256(data).hexdigest()
    SafetySettings.objects.select_for_update().get(pk=1)  # one after the other, so that each has its number
    if same := SafetyModelVersion.objects.filter(sha256=sha256).values_list("number", flat=True).first():
        raise Refused(f"Nothing new to learn: it comes out the same as model {same}.")
    newest = SafetyModelVersion.objects.aggregate(newest=Max("number"))["newest"] or 0
    version = SafetyModelVersion.objects.create(
        number=newest + 1,
        data=data,
        sha256=sha256,
        manifest=manifest | {"version": str(newest + 1), "file": f"model-{newest + 1}.ftz", "examples": examples},
        note=note or f"Trained with {examples:,} reviewed example{'' if examples == 1 else 's'}",
        user=by.user,
        user_name=by.name,
    )
    after = {"model": version.number, "examples": examples, "sha256": sha256}
    audit.record("safety.model_trained", by=by, object=version, object_name=str(version), after=after)
    return version


def _examples() -> list[Row]:
    """The reviewed texts as rows of a rubric, the newest first, cut where the filter would not read on."""
    found = []
    for label, category, text in SafetyExample.objects.order_by("-id").values_list("label", "category", "text"):
        plain = " ".join(text.encode(errors="replace")[:MAX_BYTES].decode(errors="ignore").split())
        found.append(Row(label == "unsafe", category if label == "unsafe" else HARD if label == "hard" else "", plain))
    return found


def _together(rows: list[Row], examples: list[Row]) -> list[Row]:
    """Examples and rubric, each text once: what was reviewed last holds."""
    found: dict[str, Row] = {}
    for row in (*examples, *rows):
        if plain := " ".join(words(row.text)):
            found.setdefault(plain, row)
    return list(found.values())


def _train(rows: list[Row], folder: Path, target: float) -> tuple[dict[str, Any], bytes]:
    """The manifest and the file of a model that another process trains."""
    rubric, out = folder / "rubric.tsv", folder / "models"
    lines = ["label\tcategory\ttext", *(f"{'unsafe' if r.harmful else 'safe'}\t{r.kind}\t{r.text}" for r in rows)]
    rubric.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-c", _TRAIN, str(rubric), str(out), str(target)]
    try:
        ended = subprocess.run(  # noqa: S603 -- this Python and a program of our own, without a shell
            command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"The training took longer than {LONGEST_SECONDS} s and was given up.") from None
    if ended.returncode:
        told = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Refused(f"The training failed: {told.removeprefix('ValueError: ')}.")
    manifest = json.loads((out / "current.json").read_text(encoding="utf-8"))
    return manifest, (out / manifest["file"]).read_bytes()


def _live_metrics(rows: list[Row], target: float) -> Metrics | None:
    """The live model's figures on the same held-out texts; None when it cannot be loaded."""
    config = SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)
    model, _ = guards.model_of(config.model).get()
    return calibrate(model, [row for row in rows if row.held_out], target)[1] if model else None
