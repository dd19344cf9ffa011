"""Training a new model from what people reviewed: the page, the command, and what is refused."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from promptops import guards, live
from promptops.actions import safety_training
from promptops.actions.errors import Refused
from promptops.engine.safety.training import RUBRIC
from promptops.models import AuditEntry, SafetyExample, SafetyModelVersion, SafetySettings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


def examples(label: str = "unsafe", category: str = "violence", count: int = 12) -> None:
    """Texts of which none is held out, so that the figures are about the same texts."""
    made = 0
    for number in range(1000):
        text = f"zorgling\tnumber {number}\nflattens the quiet plaza"
        if made < count and not safety_training.Row(True, "violence", " ".join(text.split())).held_out:
            SafetyExample.objects.create(label=label, category=category, text=text, user_name="Ada")
            made += 1


def test_a_model_learns_what_people_reviewed_and_goes_live_by_the_panel(client_for, releaser, editor):
    examples()
    before = live.load().safety.guard.check("a zorgling flattens the quiet plaza").scores
    address = reverse("safety_train")
    assert client_for(editor).post(address).status_code == 403
    client = client_for(releaser, htmx=True)
    panel = client.post(address).content.decode()
    assert "Make model 2 current" in panel
    assert "Recall of violence" in panel
    version = SafetyModelVersion.objects.get(number=2)
    assert (version.user, version.manifest["examples"]) == (releaser, 12)
    assert version.manifest["texts"] == 1282 + 12
    assert SafetySettings.objects.get(pk=1).model.number == 1
    assert AuditEntry.objects.get(action="safety.model_trained").after["model"] == 2
    assert client.post(reverse("safety_model_live", args=[2]), {"expected": "0", "confirm": "1"})["HX-Redirect"]
    after = live.load().safety.guard.check("a zorgling flattens the quiet plaza").scores
    assert after["violence"] > before["violence"] + 0.1
    assert "12 reviewed examples" in client.get(reverse("safety_models")).content.decode()


def test_nothing_new_is_told(client_for, releaser):
    response = client_for(releaser, htmx=True).post(reverse("safety_train"))
    assert response.status_code == 409
    assert "the same as model 1" in response.content.decode()
    assert SafetyModelVersion.objects.count() == 1


def test_a_worse_model_is_refused_with_the_figures(client_for, releaser):
    for line in RUBRIC.read_text(encoding="utf-8").splitlines()[1:]:
        label, _, text = line.split("\t")
        row = safety_training.Row(True, "x", text)
        if label == "unsafe" and not row.held_out:  # somebody calls nearly everything harmless
            SafetyExample.objects.create(label="safe", text=text, user_name="Eve")
    SafetyExample.objects.filter(pk__in=SafetyExample.objects.values_list("pk")[:40]).delete()
    html = client_for(releaser, htmx=True).post(reverse("safety_train")).content.decode()
    assert "is worse on the held-out texts" in html
    assert "instead of" in html
    assert SafetyModelVersion.objects.count() == 1


@pytest.mark.parametrize(
    "text", ["\u200b", "</s> __label__safe", '"quoted" \t\n tab', "x" * 20_000, "\u202e\U0001f98a"]
)
def test_hostile_examples_do_not_break_a_training(actor, text):
    SafetyExample.objects.create(label="hard", text=text, user_name="Ada")
    SafetyExample.objects.create(label="unsafe", category="hate", text=text, user_name="Ada")
    rows = safety_training._together([], safety_training._examples())
    assert len(rows) <= 1
    assert all(row.harmful for row in rows)  # the newest holds
    assert all(not set("\t\n") & set(row.text) for row in rows)


def test_a_rubric_that_cannot_be_used_is_told(actor, tmp_path):
    with pytest.raises(Refused, match="cannot be read"):
        safety_training.train(by=actor, rubric=tmp_path / "none.tsv")
    (tmp_path / "short.tsv").write_text("label\tcategory\ttext\nsafe\tx\ta fox\n")
    with pytest.raises(Refused, match="training failed"):
        safety_training.train(by=actor, rubric=tmp_path / "short.tsv")


def test_the_command_makes_the_model_live_or_writes_files(tmp_path):
    examples()
    out = io.StringIO()
    call_command("train_safety", stdout=out)
    assert "Model 2 is live as r1" in out.getvalue()
    assert SafetySettings.objects.get(pk=1).model.number == 2
    with pytest.raises(CommandError, match="the same as model 2"):
        call_command("train_safety", stdout=out)
    call_command("train_safety", folder=tmp_path / "files", stdout=out)
    assert (tmp_path / "files" / "current.json").exists()
    assert SafetyModelVersion.objects.count() == 2
