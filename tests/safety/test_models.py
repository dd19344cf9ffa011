"""The page of models over HTTP: figures, and making another model live."""

import io
import json

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.apps import ensure_single_rows
from promptops.engine.safety.evaluation import as_markdown, read_figures
from promptops.ledger.models import AuditEntry
from promptops.safety import guards
from promptops.safety.models import SafetyModelVersion, SafetySettings
from promptops.safety.queries import model_versions
from tests.safety.helpers import BAD, second_model

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    yield
    guards.forget_models()


def test_the_documented_figures_are_on_the_page_and_in_the_docs(client_for, viewer):
    version = SafetyModelVersion.objects.get(number=1)
    figures = model_versions.figures_of(version)
    docs = (settings.BASE_DIR / "docs" / "safety.md").read_text()
    html = client_for(viewer).get(reverse("safety_models")).content.decode()
    assert set(figures["tables"]) >= {"By source", "AUROC", "By sort", "What blocks"}
    assert f"A video prompt takes {figures['milliseconds']:.3f} ms" in docs
    for title, table in figures["tables"].items():
        assert f"**{title}**" in docs
        assert as_markdown(table) in docs
        assert title in html
    assert '<td>enhanced video prompts</td><td>harmless</td><td class="num">944</td>' in html
    assert model_versions.figures_of(SafetyModelVersion(manifest=version.manifest, sha256="0" * 64)) is None
    assert (
        model_versions.figures_of(SafetyModelVersion(manifest={"file": "../../x.ftz"}, sha256=version.sha256)) is None
    )


def test_models_are_listed_with_their_figures(client_for, viewer, releaser):
    second_model(recall=0.71, recall_by_category={"hate": 0.5})
    html = client_for(viewer).get(reverse("safety_models")).content.decode()
    assert "0.950" in html
    assert "56.7%" in html
    assert "71.0%" in html
    assert "Trained again" in html
    assert "finds about 6 of 10 harmful texts and holds back about 1 of 190 ordinary ones by" in " ".join(html.split())
    assert "finds about 7 of 10 harmful texts" in html
    assert "It stops about 6 of 10 harmful texts, about 1 of 140 ordinary prompts" in " ".join(html.split())
    assert "Make model 2 live" not in html
    assert "Make model 2 live" in client_for(releaser).get(reverse("safety_models")).content.decode()


def test_an_upgraded_installation_is_offered_the_model_that_came_with_the_update(client_for, viewer, monkeypatch):
    client = client_for(viewer)
    assert "came with an update" not in client.get(reverse("safety_models")).content.decode()
    version = second_model()  # somebody's own
    assert "came with an update" not in client.get(reverse("safety_models")).content.decode()
    version.delete()
    shipped = "f" * 64, {"manifest": version.manifest, "user_name": "PromptOps"}
    monkeypatch.setattr(guards, "shipped_model", lambda: shipped)
    ensure_single_rows("default")  # as after the migrations of an update
    html = " ".join(client.get(reverse("safety_models")).content.decode().split())
    assert "Model 2 came with an update of PromptOps" in html
    assert "compares it with model 1" in html
    SafetySettings.objects.update(model=SafetyModelVersion.objects.get(number=2))
    assert "came with an update" not in client.get(reverse("safety_models")).content.decode()


def test_a_table_of_figures_may_be_empty(client_for, viewer, monkeypatch):
    """Such as "What blocks", if nothing was blocked."""
    figures = model_versions.figures_of(SafetyModelVersion.objects.get(number=1))
    tables = figures["tables"] | {"What blocks": []}
    monkeypatch.setattr(model_versions, "figures_of", lambda version: figures | {"tables": tables})
    assert "What blocks" in client_for(viewer).get(reverse("safety_models")).content.decode()


def test_models_cost_the_same_queries_however_many(client_for, viewer, django_assert_max_num_queries):
    second, client = second_model(), client_for(viewer)  # with one there is none to compare it with
    client.get(reverse("safety_models"))
    with CaptureQueriesContext(connection) as two:
        client.get(reverse("safety_models"))
    second.pk, second.number, second.sha256 = None, 3, "a" * 64
    second.save()
    with django_assert_max_num_queries(len(two)):
        client.get(reverse("safety_models"))


def test_another_model_goes_live_and_back_in_two_clicks(client_for, releaser, editor):
    second_model(recall=0.71)
    address = reverse("safety_model_live", args=[2])
    assert client_for(editor).post(address, {"expected": "0"}).status_code == 403
    client = client_for(releaser, htmx=True)
    panel = client.post(address, {"expected": "0"}).content.decode()
    assert "56.7%" in panel
    assert "<b>71.0%</b>" in panel
    assert "Threshold of self-harm" in panel
    assert "fails its self-test" not in panel
    assert client.post(address, {"expected": "7", "confirm": "1"}).status_code == 409
    assert client.post(address, {"expected": "0", "confirm": "1", "note": "Better"})["HX-Redirect"]
    assert SafetySettings.objects.get(pk=1).model.number == 2
    assert AuditEntry.objects.get(action="safety.model_changed").note == "Better"
    assert client.post(address, {"expected": "1"}).status_code == 409
    page = client.get(reverse("safety_models")).content.decode()
    assert "Make model 1 live" in page
    assert "Not evaluated" in page
    back = reverse("safety_model_live", args=[1])
    assert client.post(back, {"expected": "1", "confirm": "1"})["HX-Redirect"]
    assert SafetySettings.objects.get(pk=1).model.number == 1
    assert client.post(reverse("safety_model_live", args=[9])).status_code == 404


def test_the_panel_warns_of_a_model_that_cannot_be_loaded(client_for, releaser):
    version = second_model()
    SafetyModelVersion.objects.filter(pk=version.pk).update(data=b"not a model")
    panel = client_for(releaser, htmx=True).post(reverse("safety_model_live", args=[2]), {"expected": "0"})
    assert "fails its self-test" in panel.content.decode()


def test_evaluating_writes_its_figures(tmp_path):
    (tmp_path / "video_prompts.tsv").write_text("prompt\tenhanced\na fox\ta fox in snow\n")
    (tmp_path / "image_prompts.tsv").write_text("prompt\tcategory\na fox\tAnimals\n")
    (tmp_path / "xstest.tsv").write_text(f"prompt\tlabel\ttype\n{BAD}\tunsafe\tcontrast\nhow to kill time\tsafe\tx\n")
    target = tmp_path / "figures.json"
    call_command("evaluate_safety", data=tmp_path, json=target, stdout=io.StringIO())
    found = json.loads(target.read_text())
    assert {row["source"] for row in found["tables"]["By source"]} == {
        "XSTest",
        "enhanced video prompts",
        "image prompts",
        "video prompts",
    }
    assert read_figures(target, found["sha256"])["tables"] == found["tables"]
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("evaluate_safety", data=tmp_path, json=tmp_path / "no" / "x.json", stdout=io.StringIO())
