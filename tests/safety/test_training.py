"""Training a new model from reviewed texts: the page, the command, and refusals.

A training takes 5 s, on a fifth of the rubric 2 s; only one test needs the whole rubric.
"""

import io
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from promptops.engine.safety import training as engine_training
from promptops.engine.safety.fitting import Step
from promptops.engine.safety.rubric import RUBRIC, read_rubric
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from promptops.live import snapshots as live
from promptops.safety import guards
from promptops.safety.actions import training as safety_training
from promptops.safety.models import LOST_AFTER, SafetyExample, SafetyModelVersion, SafetySettings, SafetyTraining

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path, monkeypatch):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(safety_training, "SETS", tmp_path / "none")  # evaluating on them takes seconds
    yield
    guards.forget_models()


@pytest.fixture(scope="module")
def small_model(tmp_path_factory) -> Path:
    """The manifest of a model that was trained on a fifth of the rubric; that fifth is beside it."""
    folder = tmp_path_factory.mktemp("small")
    head, *lines = RUBRIC.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "rubric.tsv").write_text("".join([head, *lines[::5]]), encoding="utf-8")
    return engine_training.train(folder / "rubric.tsv", folder, promote_worse=True).manifest


@pytest.fixture
def small_rubric(small_model, db, monkeypatch) -> Path:
    """Train on a fifth of the rubric, from which model 1 comes then."""
    manifest, rubric = json.loads(small_model.read_text()), small_model.parent / "rubric.tsv"
    data = (small_model.parent / manifest["file"]).read_bytes()
    SafetyModelVersion.objects.update(data=data, sha256=manifest["sha256"], manifest=manifest)
    monkeypatch.setattr(safety_training, "read_rubric", lambda _, pause: read_rubric(rubric, pause))
    return rubric


def examples(label: str = "unsafe", category: str = "violence", count: int = 12) -> None:
    """Make reviewed texts that are not held out, so that both models are measured on the same texts."""
    made = 0
    for number in range(1000):
        text = f"zorgling\tnumber {number}\nflattens the quiet plaza"
        if made < count and not safety_training.Row(True, "violence", " ".join(text.split())).held_out:
            SafetyExample.objects.create(label=label, category=category, text=text, user_name="Ada")
            made += 1


def train(client, releaser) -> str:
    """Start a training on the page, run it here, and return the page's card with its result."""
    assert client.post(reverse("safety_training")).status_code == 200
    training = SafetyTraining.objects.first()
    assert training.state == "running"
    safety_training.run(training.pk, by=Actor(user=releaser, name=releaser.name))
    return client.get(reverse("safety_training")).content.decode()


@pytest.fixture
def sets(tmp_path, monkeypatch) -> None:
    """One text for each evaluation set."""
    (tmp_path / "video_prompts.tsv").write_text("prompt\tenhanced\na fox\ta fox in snow\n")
    (tmp_path / "image_prompts.tsv").write_text("prompt\tcategory\na fox\tAnimals\n")
    (tmp_path / "xstest.tsv").write_text("prompt\tlabel\ttype\nkill them all\tunsafe\tcontrast\n")
    monkeypatch.setattr(safety_training, "SETS", tmp_path)


def test_a_model_learns_reviewed_texts_is_evaluated_and_goes_live_by_the_panel(
    client_for, releaser, editor, sets, monkeypatch
):
    examples()
    before = live.load().safety.guard.check("a zorgling flattens the quiet plaza").scores
    assert client_for(editor).post(reverse("safety_training")).status_code == 403
    steps = []
    update = QuerySet.update
    monkeypatch.setattr(QuerySet, "update", lambda rows, **new: steps.append(new.get("step")) or update(rows, **new))
    client = client_for(releaser, htmx=True)
    html = train(client, releaser)
    assert [step for step in dict.fromkeys(steps) if step] == list(Step)
    assert "Model 2 is trained" in html
    assert "Review model 2" in html
    panel = client.post(reverse("safety_model_live", args=[2]), {"expected": "0"}).content.decode()
    assert "Make model 2 live" in panel
    assert "Recall of violence" in panel
    version = SafetyModelVersion.objects.get(number=2)
    assert (version.user, version.manifest["examples"]) == (releaser, 12)
    assert version.manifest["texts"] == 2181 + 12
    assert version.manifest["beside"]["model"] == 1
    assert SafetySettings.objects.get(pk=1).model.number == 1
    assert AuditEntry.objects.get(action="safety.model_trained").after["model"] == 2
    assert client.post(reverse("safety_model_live", args=[2]), {"expected": "0", "confirm": "1"})["HX-Redirect"]
    after = live.load().safety.guard.check("a zorgling flattens the quiet plaza").scores
    assert after["violence"] > before["violence"] + 0.1
    page = client.get(reverse("safety_models")).content.decode()
    assert "12 reviewed examples" in page
    assert "Review model 2" not in page
    assert (
        "Measured on these texts: 1 of XSTest, 1 of enhanced video prompts, 1 of image prompts, 1 of video prompts."
        in page
    )
    assert "134 harmful and 302 harmless held-out texts" in page


def test_a_training_with_nothing_new_to_learn_is_refused(small_rubric, client_for, releaser):
    assert "the same as model 1" in train(client_for(releaser, htmx=True), releaser)
    assert SafetyModelVersion.objects.count() == 1


def test_the_same_model_with_other_thresholds_offers_the_thresholds(small_rubric, client_for, releaser):
    version = SafetyModelVersion.objects.get(number=1)
    own = version.manifest["thresholds"]
    SafetyModelVersion.objects.update(manifest=version.manifest | {"thresholds": own | {"violence": 1.0}})
    html = train(client_for(releaser, htmx=True), releaser)
    assert "the same as model 1; only the thresholds differ" in html
    address = re.search(r'href="([^"]*/thresholds/[^"]*)"', html)[1].replace("&amp;", "&")
    page = client_for(releaser).get(address).content.decode()
    assert f'value="{own["violence"]}"' in page
    assert SafetyModelVersion.objects.count() == 1


def test_a_worse_model_is_refused_with_the_figures(small_rubric, client_for, releaser):
    for line in small_rubric.read_text(encoding="utf-8").splitlines()[1:]:
        label, _, text = line.split("\t")
        row = safety_training.Row(True, "x", text)
        if label == "unsafe" and not row.held_out:  # somebody marks nearly everything harmless
            SafetyExample.objects.create(label="safe", text=text, user_name="Eve")
    SafetyExample.objects.filter(pk__in=SafetyExample.objects.values_list("pk")[:8]).delete()
    html = train(client_for(releaser, htmx=True), releaser)
    assert "is worse on the held-out texts" in html
    assert "instead of" in html
    assert SafetyModelVersion.objects.count() == 1


def test_one_training_at_a_time_and_a_lost_one_shows_its_end(client_for, releaser, viewer):
    client = client_for(releaser, htmx=True)
    assert client.post(reverse("safety_training")).status_code == 200
    again = client.post(reverse("safety_training"))
    assert again.status_code == 409
    assert "in progress" in again.content.decode()
    page = client_for(viewer).get(reverse("safety_models")).content.decode()
    assert 'aria-current="step"' in page
    assert "every 1s" in page
    assert "Cancel the training" not in page
    SafetyTraining.objects.update(seen_at=timezone.now() - LOST_AFTER - timedelta(seconds=1))  # its server died
    page = client.get(reverse("safety_training")).content.decode()
    assert "The server that ran the training stopped" in page
    assert "every 1s" not in page
    assert client.post(reverse("safety_training")).status_code == 200
    assert list(SafetyTraining.objects.values_list("state", flat=True)) == ["running", "failed"]


@pytest.mark.parametrize("step", [Step.NORMALIZE, Step.COMPARE])
def test_a_canceled_training_saves_nothing_and_ends_its_process(
    small_rubric, client_for, releaser, viewer, monkeypatch, step
):
    client = client_for(releaser, htmx=True)
    examples()
    client.post(reverse("safety_training"))
    training = SafetyTraining.objects.get()
    address = reverse("safety_training_cancel", args=[training.pk])
    assert client_for(viewer).post(address).status_code == 403
    follow, children = safety_training._follow, []

    def cancel_at(child, on_step):
        children.append(child)

        def cancel_first(now):
            if now == step:
                assert client.post(address).status_code == 200
            on_step(now)

        follow(child, cancel_first)

    monkeypatch.setattr(safety_training, "_follow", cancel_at)
    safety_training.run(training.pk, by=Actor(user=releaser, name=releaser.name))
    assert [child.poll() is not None for child in children] == [True]
    assert SafetyModelVersion.objects.count() == 1
    assert (
        "Rita Releaser canceled the training. Nothing was saved."
        in client.get(reverse("safety_training")).content.decode()
    )
    assert AuditEntry.objects.filter(action="safety.training_canceled").count() == 1
    assert client.post(address).status_code == 409


def test_a_trainer_that_dies_is_reported(client_for, releaser, monkeypatch):
    follow = safety_training._follow
    monkeypatch.setattr(safety_training, "_follow", lambda child, on_step: (child.kill(), follow(child, on_step)))
    html = train(client_for(releaser, htmx=True), releaser)
    assert "Signal 9 ended the training process" in html
    assert SafetyModelVersion.objects.count() == 1


def test_a_trainer_does_not_outlive_its_server(tmp_path):
    command = [sys.executable, "-m", "promptops.engine.safety.trainer", str(RUBRIC), str(tmp_path), "0.01"]
    with subprocess.Popen(command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdin.close()
        assert child.wait(20) == 1


@pytest.mark.parametrize(
    "text", ["\u200b", "</s> __label__safe", '"quoted" \t\n tab', "x" * 20_000, "\u202e\U0001f98a"]
)
def test_hostile_examples_do_not_break_a_training(actor, text):
    SafetyExample.objects.create(label="hard", text=text, user_name="Ada")
    SafetyExample.objects.create(label="unsafe", category="hate", text=text, user_name="Ada")
    rows = safety_training._together([], safety_training._examples(), lambda: None)
    assert len(rows) <= 1
    assert all(row.harmful for row in rows)  # the newest review counts
    assert all(not set("\t\n") & set(row.text) for row in rows)


def test_an_invalid_rubric_is_refused(actor, tmp_path):
    with pytest.raises(Refused, match="cannot be read"):
        safety_training.train(by=actor, rubric=tmp_path / "none.tsv")
    (tmp_path / "short.tsv").write_text("label\tcategory\ttext\nsafe\tx\ta fox\n")
    with pytest.raises(Refused, match="training failed"):
        safety_training.train(by=actor, rubric=tmp_path / "short.tsv")


# Three trainings: 6 s.
def test_the_command_makes_the_model_live_or_writes_files(small_rubric, tmp_path):
    examples()
    out = io.StringIO()
    call_command("train_safety", stdout=out)
    assert "Model 2 is live as r1" in out.getvalue()
    version = SafetySettings.objects.get(pk=1).model
    assert version.number == 2
    call_command("train_safety", target=0.05, stdout=out)
    assert "the same as model 2; only its thresholds differ. They are live as r2" in out.getvalue()
    assert SafetySettings.objects.get(pk=1).thresholds["violence"] < version.manifest["thresholds"]["violence"]
    given = {"rubric": small_rubric, "folder": tmp_path / "files", "promote_worse": True}
    call_command("train_safety", **given, stdout=out)
    assert json.loads((tmp_path / "files" / "current.json").read_text())["texts"] == len(read_rubric(small_rubric))
    assert SafetyModelVersion.objects.count() == 2
