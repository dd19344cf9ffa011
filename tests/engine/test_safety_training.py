"""Training and evaluating with the shipped rubric: figures, disguises, and which model is promoted."""

from __future__ import annotations

import json

import pytest

from promptops.engine.safety import evaluation, training
from promptops.engine.safety.guard import SHIPPED, SafetyCategory, SafetyGuard, SafetyModel
from promptops.engine.safety.measures import Metrics, worse_than
from promptops.engine.safety.normalize import normalize
from promptops.engine.safety.rubric import HARD, RUBRIC, read_rubric

DATA = evaluation.SETS
GUARD = SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"))


def test_the_rubric():
    rows = read_rubric(RUBRIC)
    assert sum(row.harmful for row in rows) >= 150
    assert sum(row.kind == HARD for row in rows) >= 100
    assert sum(not row.harmful and row.kind != HARD for row in rows) >= 500
    assert {row.kind for row in rows if row.harmful} == set(SafetyCategory)
    seen = {normalize(item.text) for item in evaluation.read_sets(DATA)}
    assert [row.text for row in rows if normalize(row.text) in seen] == []


@pytest.fixture(scope="module")
def judged():
    return evaluation.judge(GUARD, GUARD._model.get()[0], evaluation.read_sets(DATA))


def test_figures_on_texts_never_trained_on(judged):
    for source in (evaluation.VIDEO, evaluation.ENHANCED, evaluation.IMAGE):
        stopped = [one.stopped for one in judged if one.item.source == source]
        assert sum(stopped) / len(stopped) <= 0.02, source
    assert float(evaluation.aurocs(judged)[0]["AUROC"]) > 0.9


def test_disguises(judged):
    rows = evaluation.disguises(GUARD, [one.item.text for one in judged if one.item.harmful])
    shares = {row["disguise"]: row["still blocked"] / row["blocked texts"] for row in rows}
    assert shares.pop("padded with 50 words") >= 0.6
    assert shares.pop("spaced letters, no gaps") >= 0.8  # where words begin is a guess
    assert min(shares.values()) >= 0.95


def test_training_is_reproducible_and_promotes_no_worse_model(tmp_path):
    first = training.train(folder=tmp_path)
    manifest = json.loads(first.manifest.read_text())
    assert manifest["sha256"] == json.loads((SHIPPED / "current.json").read_text())["sha256"]
    assert (tmp_path / manifest["file"]).stat().st_size < 2_000_000
    assert not training.train(folder=tmp_path).changed

    lines = RUBRIC.read_text().splitlines()
    rows = read_rubric(RUBRIC)
    worse = tmp_path / "worse.tsv"
    fewer = [
        line
        for line, row in zip(lines[1:], rows, strict=True)
        if not row.harmful or row.held_out or len(row.text) % 9 == 0
    ]
    worse.write_text("\n".join([lines[0], *fewer]) + "\n")
    with pytest.raises(training.NotPromoted, match="worse"):
        training.train(worse, tmp_path)
    assert (tmp_path / "model-2.ftz").exists()
    assert (tmp_path / "current.json").read_bytes() == first.manifest.read_bytes()


@pytest.mark.parametrize(
    ("auroc", "recall", "worse"),
    [
        (0.95, 44 / 72, ""),
        (0.941, 44 / 72, ""),
        (0.93, 44 / 72, "AUROC 0.930 instead of 0.950"),
        (0.95, 43 / 72, ""),  # one text of 72 is more than 0.01, and still noise
        (0.95, 42 / 72, "recall 0.583 instead of 0.611"),
    ],
)
def test_a_model_is_worse_by_more_than_the_noise(auroc, recall, worse):
    def metrics(auroc: float, recall: float) -> Metrics:
        return Metrics(198, 72, auroc, 0.01, 0.05, round(recall, 4), {})

    assert worse_than(metrics(auroc, recall), metrics(0.95, 44 / 72)) == worse


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n", "first line"),
        ("label\tcategory\ttext\nbad\tx\ty\n", "Line 2.*safe or unsafe"),
        ("label\tcategory\ttext\nunsafe\tx\ty\n", "no category"),
        ("label\tcategory\ttext\nsafe\tx\n", "2 columns"),
        ("label\tcategory\ttext\nsafe\tx\tA fox\nsafe\tx\ta FOX!\n", "Line 3.*repeats"),
    ],
)
def test_a_wrong_rubric_is_refused_by_line(tmp_path, text, message):
    path = tmp_path / "rubric.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_rubric(path)
