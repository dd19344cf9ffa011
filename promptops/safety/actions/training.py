"""Training a new model of the safety filter from the rubric and reviewed texts. Only a release makes it live.

fastText holds Python's lock while it trains, so a process of its own does it, outside of any transaction. Pages start
a training with `start()`. Its row shows its steps and its end; setting the row to canceled ends it. The training
itself is the engine's (`engine/safety/training.py`), and a release of the model belongs to actions/filter_settings.py.
"""

import hashlib
import json
import logging
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Max
from django.utils import timezone

from promptops.engine.safety.evaluation import SETS
from promptops.engine.safety.fitting import OnStep, Step
from promptops.engine.safety.guard import MAX_BYTES, let_go
from promptops.engine.safety.measures import Metrics, worse_than
from promptops.engine.safety.normalize import words
from promptops.engine.safety.rubric import HARD, RUBRIC, Row, read_rubric
from promptops.engine.safety.trainer import OUTCOME
from promptops.engine.safety.training import TARGET
from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.registry import Action
from promptops.safety import guards
from promptops.safety.enums import TrainingState
from promptops.safety.models import LOST, SafetyExample, SafetyModelVersion, SafetySettings, SafetyTraining

registry.register(
    Action(
        "safety.model_trained",
        "{actor} trained model {after[model]} of the safety filter (examples: {after[examples]})",
        when="somebody trained a new model of the safety filter; it is saved but not live yet",
        object="safetymodelversion",
    ),
    Action(
        "safety.training_started",
        "{actor} started a training of the safety filter's model",
        when="somebody started a training of the safety filter's model",
    ),
    Action(
        "safety.training_canceled",
        "{actor} canceled a training of the safety filter's model",
        when="somebody canceled a training; nothing was saved",
    ),
)

log = logging.getLogger(__name__)

LONGEST_SECONDS = 300
REPORT_SECONDS = 0.5
"""Seconds between two reports of a training. With each it also checks that it was not canceled."""


class Canceled(Exception):
    """Somebody canceled the training; nothing is saved."""


@dataclass(frozen=True)
class Outcome:
    """The model of a training. If `new` is false, an existing model: only the thresholds came out differently."""

    version: SafetyModelVersion
    new: bool
    thresholds: dict[str, float]


# ---------------------------------------------------------------------------------------------- from a page


@transaction.atomic
def start(*, by: Actor) -> SafetyTraining:
    """Start a training in the background. Raises Refused while another one is in progress."""
    for training in SafetyTraining.objects.filter(state=TrainingState.RUNNING):
        if training.lost:
            _end(training.pk, TrainingState.FAILED, LOST)
    try:
        with transaction.atomic():
            training = SafetyTraining.objects.create(step=Step.NORMALIZE, user=by.user, user_name=by.name)
    except IntegrityError:
        raise Refused("Another training is in progress. It takes a few seconds; try again then.") from None
    thread = threading.Thread(target=_in_background, args=(training.pk, by), name="safety-training", daemon=True)
    transaction.on_commit(thread.start)
    audit.record("safety.training_started", by=by, object_name="the safety filter")
    return training


@transaction.atomic
def cancel(training: SafetyTraining, *, by: Actor) -> None:
    """Cancel a training; its process ends within half a second. Raises Refused if it has ended already."""
    if not _end(training.pk, TrainingState.CANCELED, f"{by.name} canceled the training. Nothing was saved."):
        raise Refused("This training has ended already.")
    audit.record("safety.training_canceled", by=by, object_name="the safety filter")


def run(pk: int, *, by: Actor) -> None:
    """Run the training of this row, and write its steps and its result into the row; never raises."""

    def report(step: Step) -> None:
        running = SafetyTraining.objects.filter(pk=pk, state=TrainingState.RUNNING)
        if not running.update(step=step, seen_at=timezone.now()):
            raise Canceled

    def keep(outcome: Outcome) -> None:
        number = outcome.version.number
        if outcome.new:
            state, summary = TrainingState.KEPT, f"Model {number} is trained. Release it to make it live."
        else:
            state = TrainingState.SAME
            summary = f"The result is the same as model {number}; only the thresholds differ."
        if not _end(pk, state, summary, version=outcome.version, thresholds=outcome.thresholds):
            raise Canceled

    try:
        train(by=by, on_step=report, keep=keep)
    except Canceled:
        pass
    except Refused as refused:
        _end(pk, TrainingState.REFUSED, str(refused))
    except Exception as error:
        log.exception("A training of the safety filter failed.")
        _end(
            pk,
            TrainingState.FAILED,
            f"The training failed with {type(error).__name__}. Nothing was saved.",
        )


def _in_background(pk: int, by: Actor) -> None:
    try:
        run(pk, by=by)
    finally:
        connection.close()  # the thread ends here


def _end(pk: int, state: TrainingState, summary: str, **fields: Any) -> bool:
    """End the training if it is still running, and return whether it was."""
    running = SafetyTraining.objects.filter(pk=pk, state=TrainingState.RUNNING)
    return bool(running.update(state=state, said=summary, ended_at=timezone.now(), **fields))


# ---------------------------------------------------------------------------------------------- the training itself


def train(
    *,
    by: Actor,
    rubric: Path = RUBRIC,
    target: float = TARGET,
    allow_worse: bool = False,
    on_step: OnStep = lambda step: None,
    keep: Callable[[Outcome], object] = lambda outcome: None,
) -> Outcome:
    """Train and save a new version, which is not live yet. Takes seconds; call it in a thread, outside a transaction.

    `target` is the share of ordinary harmless texts that its thresholds may block. `on_step` is called repeatedly with
    the current step, and `keep` with the outcome in the transaction that saves it; an exception from either ends the
    training, and nothing is saved. Raises Refused if the model is worse on the held-out texts than the live one (unless
    `allow_worse`), equals an existing one including its thresholds, or the training fails.
    """
    on_step(Step.NORMALIZE)
    pause = _pause(on_step)
    try:
        rows = read_rubric(rubric, pause)
    except (OSError, ValueError) as error:
        raise Refused(f"The rubric cannot be read: {error}.") from None
    examples = _examples()
    rows = _together(rows, examples, pause)
    live = SafetySettings.objects.select_related("model").defer("model__data").get(pk=1).model
    with tempfile.TemporaryDirectory() as scratch:
        manifest, data, before = _train(rows, live, Path(scratch), target, on_step)
    metrics = Metrics(**manifest["held_out"])
    if before and not allow_worse and (worse := worse_than(metrics, before)):
        raise Refused(f"The new model is worse on the held-out texts ({worse}), so it was not saved.")
    if len(data) > guards.MAX_MODEL_BYTES:
        raise Refused(f"The new model has {len(data):,} bytes; at most {guards.MAX_MODEL_BYTES:,} are allowed.")
    manifest["examples"] = len(examples)
    if before:
        manifest["beside"] = {"model": live.number, "held_out": vars(before)}
    return _keep(manifest, data, keep, by=by)


@transaction.atomic
def _keep(manifest: dict[str, Any], data: bytes, keep: Callable[[Outcome], object], *, by: Actor) -> Outcome:
    sha256 = hashlib.sha256(data).hexdigest()
    SafetySettings.objects.select_for_update().get(pk=1)  # one at a time, so that each gets its own number
    if same := SafetyModelVersion.objects.filter(sha256=sha256).defer("data").first():
        if same.manifest.get("thresholds") == manifest["thresholds"]:
            raise Refused(f"Nothing new to learn: the result is the same as model {same.number}.")
        outcome = Outcome(same, False, manifest["thresholds"])
        keep(outcome)
        return outcome
    newest = SafetyModelVersion.objects.aggregate(newest=Max("number"))["newest"] or 0
    version = SafetyModelVersion.objects.create(
        number=newest + 1,
        data=data,
        sha256=sha256,
        manifest=manifest | {"version": str(newest + 1), "file": f"model-{newest + 1}.ftz"},
        note=f"Trained with {(examples := manifest['examples']):,} reviewed example{'' if examples == 1 else 's'}",
        user=by.user,
        user_name=by.name,
    )
    after = {"model": version.number, "examples": examples, "sha256": sha256}
    audit.record("safety.model_trained", by=by, object=version, object_name=str(version), after=after)
    outcome = Outcome(version, True, manifest["thresholds"])
    keep(outcome)
    return outcome


def _examples() -> list[Row]:
    """Return the reviewed texts as rows of a rubric, the newest first, cut to the length that the filter reads."""
    rows = []
    for label, category, text in SafetyExample.objects.order_by("-id").values_list("label", "category", "text"):
        plain = " ".join(text.encode(errors="replace")[:MAX_BYTES].decode(errors="ignore").split())
        rows.append(Row(label == "unsafe", category if label == "unsafe" else HARD if label == "hard" else "", plain))
    return rows


def _pause(on_step: OnStep) -> Callable[[], None]:
    """Return a pause for reading many texts in this process: lets others run, and ends a canceled training."""
    reported_at = time.monotonic()

    def pause() -> None:
        nonlocal reported_at
        let_go()
        if time.monotonic() - reported_at > REPORT_SECONDS:
            reported_at = time.monotonic()
            on_step(Step.NORMALIZE)

    return pause


def _together(rows: list[Row], examples: list[Row], pause: Callable[[], object]) -> list[Row]:
    """Return examples and rubric with each text once; the newest review of a text counts."""
    by_text: dict[str, Row] = {}
    for row in (*examples, *rows):
        if plain := " ".join(words(row.text, pause)):
            by_text.setdefault(plain, row)
    return list(by_text.values())


def _train(
    rows: list[Row], live: SafetyModelVersion, folder: Path, target: float, on_step: OnStep
) -> tuple[dict[str, Any], bytes, Metrics | None]:
    """Train in another process; return the manifest, the file, and the live model's figures on the same texts."""
    rubric, out = folder / "rubric.tsv", folder / "models"
    lines = ["label\tcategory\ttext", *(f"{'unsafe' if r.harmful else 'safe'}\t{r.kind}\t{r.text}" for r in rows)]
    rubric.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out.mkdir()
    _put_live(live, out)
    command = [sys.executable, "-m", "promptops.engine.safety.trainer", str(rubric), str(out), str(target), str(SETS)]
    with (folder / "errors.txt").open("w+b") as errors:
        with subprocess.Popen(  # noqa: S603 -- this Python and a program of our own, without a shell
            command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as child:
            try:
                _follow(child, on_step)
            finally:
                child.kill()
        errors.seek(0)
        if child.returncode:
            raise Refused(_why(child.returncode, errors.read().decode(errors="replace")))
    outcome = json.loads((out / OUTCOME).read_text(encoding="utf-8"))
    manifest = json.loads((out / outcome["manifest"]).read_text(encoding="utf-8"))
    manifest["evaluation"] = outcome.get("evaluation")
    before = Metrics(**outcome["before"]) if outcome["before"] else None
    return manifest, (out / manifest["file"]).read_bytes(), before


def _put_live(live: SafetyModelVersion, folder: Path) -> None:
    """Write the live model as the folder's current one, for comparison; one that cannot be loaded has no figures."""
    manifest = {**live.manifest, "file": "live.ftz", "version": str(live.number), "sha256": live.sha256}
    (folder / "current.json").write_text(json.dumps(manifest), encoding="utf-8")
    try:
        shutil.copyfile(guards.file_of(live), folder / "live.ftz")
    except (OSError, ValueError) as error:
        log.warning("The live safety model cannot be compared with a new one: %s.", error)


def _follow(child: subprocess.Popen[bytes], on_step: OnStep) -> None:
    """Report the steps that the process prints, until it ends."""
    if child.stdout is None:
        raise ValueError("A training can only be followed by its standard output.")
    step, end = Step.NORMALIZE, time.monotonic() + LONGEST_SECONDS
    with selectors.DefaultSelector() as waiting:
        waiting.register(child.stdout, selectors.EVENT_READ)
        while time.monotonic() < end:
            if waiting.select(REPORT_SECONDS):
                printed = os.read(child.stdout.fileno(), 4096)
                if not printed:
                    child.wait()
                    return
                for line in printed.decode().split():
                    step = Step(line)
                    on_step(step)
            else:
                on_step(step)
    raise Refused(f"The training took longer than {LONGEST_SECONDS} s and was stopped. Nothing was saved.")


def _why(code: int, errors: str) -> str:
    """Return the reason why the process failed, in sentences."""
    if code < 0:
        return f"Signal {-code} ended the training process before it was done. Nothing was saved. Train again."
    reason = (errors.strip().splitlines() or ["it gave no reason"])[-1]
    return f"The training failed, and nothing was saved: {reason.removeprefix('ValueError: ')}."
