"""Training and evaluating with the shipped rubric: figures, disguises, and which model is promoted."""

from __future__ import annotations

import json

import pytest

from promptops.engine.safety import evaluation, training
from promptops.engine.safety.guard import SHIPPED, SafetyCategory, SafetyGuard, SafetyModel
from promptops.engine.safety.measures import Metrics, measure, pick_thresholds, worse_than
from promptops.engine.safety.normalize import normalize
from promptops.engine.safety.rubric import HARD, RUBRIC, Row, read_rubric

DATA = evaluation.SETS
GUARD = SafetyGuard(SafetyModel.from_manifest(SHIPPED / "current.json"))


def test_the_rubric():
    rows = read_rubric(RUBRIC)
    assert sum(row.harmful for row in rows) >= 150
    assert sum(row.kind == HARD for row in rows) >= 100
    assert sum(row.ordinary for row in rows) >= 500
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
    rows = evaluation.disguises(GUARD.check, [one.item.text for one in judged if one.item.harmful])
    shares = {row["disguise"]: row["still blocked"] / row["blocked texts"] for row in rows}
    bounds = {
        "padded with 50 words": 0.6,
        "padded with 200 words": 0.5,
        "spaced letters, no gaps": 0.8,  # where words begin is a guess
        "every letter doubled": 0.9,
        "a doubled letter in each word": 0.8,
        "leet with more signs": 0.7,
        "a star in each word": 0.8,
        "vowels dropped": 0.6,
        "a typo in each word": 0.6,
        "a harmless word after each word": 0.7,
        "emoji between letters": 0.9,
    }
    low = {name: share for name, share in shares.items() if share < bounds.get(name, 0.95)}
    assert low == {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, fit_once):
    """The result of a training in a new folder, the rows that each fit learned, and those that set the thresholds."""
    learned, counted = [], []
    pick = training.pick_thresholds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training.Fitter, "fit", lambda self, rows, *more: learned.append(set(rows)) or fit_once(self, rows, *more)
        )
        patch.setattr(
            training, "pick_thresholds", lambda scores, rows, target: counted.extend(rows) or pick(scores, rows, target)
        )
        return training.train(folder=tmp_path_factory.mktemp("models")), learned, counted


# Three trainings; the second one fits nothing again: 10 s.
def test_training_is_reproducible_and_promotes_no_worse_model(trained, tmp_path, fit_once, monkeypatch):
    monkeypatch.setattr(training.Fitter, "fit", fit_once)
    first, folder = trained[0], trained[0].manifest.parent
    manifest = json.loads(first.manifest.read_text())
    shipped = json.loads((SHIPPED / "current.json").read_text())
    assert (manifest["sha256"], manifest["thresholds"]) == (shipped["sha256"], shipped["thresholds"])
    assert (folder / manifest["file"]).stat().st_size < 4_000_000
    assert not training.train(folder=folder).changed

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
        training.train(worse, folder)
    assert (folder / "model-2.ftz").exists()
    assert (folder / "current.json").read_bytes() == first.manifest.read_bytes()


def test_one_threshold_for_all_categories_blocks_the_target_of_ordinary_texts():
    def score(value: float) -> dict[SafetyCategory, float]:
        return {SafetyCategory.HATE: value, SafetyCategory.SEXUAL: value / 2}

    ordinary = [Row(False, "ordinary", "") for _ in range(200)]
    scores = [score(number / 1000) for number in range(200)]
    rows = [*ordinary, Row(False, HARD, ""), Row(True, "hate", ""), Row(True, "sexual", "")]
    scores += [score(0.9), score(0.5), score(0.1)]
    thresholds = pick_thresholds(scores, rows, 0.01)
    assert list(thresholds.values()) == [pytest.approx(0.197001)] * 2
    figures = measure(scores, rows, thresholds)
    assert (figures.harmless, figures.harmful, figures.over_block, figures.over_block_hard) == (201, 2, 0.01, 1.0)
    assert (figures.recall, figures.recall_by_category) == (0.5, {"hate": 1.0, "sexual": 0.0})


def test_thresholds_count_every_text_of_the_rubric_scored_by_a_model_that_did_not_learn_it(trained):
    _, learned, counted = trained
    rows = read_rubric(RUBRIC)
    assert sorted(row.text for row in counted) == sorted(row.text for row in rows)
    assert [{row.fold for row in rows} - {row.fold for row in one} for one in learned] == [{0}, {1}, {2}, {3}, {4}]


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
