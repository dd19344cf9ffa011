"""Settings, terms and models of the safety filter, changed as releases."""

import hashlib
import shutil
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.test.utils import CaptureQueriesContext

from promptops.apps import ensure_single_rows
from promptops.engine.safety.guard import SHIPPED, SafetyCategory, VerdictDecision, read_manifest
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.runs.enums import SafetyMode
from promptops.safety import guards
from promptops.safety.actions.filter_settings import SafetyChange, Term, change_safety, use_model
from promptops.safety.enums import WhenUnavailable
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTerm

pytestmark = pytest.mark.django_db

BAD = "a man is beheaded and his bloody corpse lies on the floor"


@pytest.fixture(autouse=True)
def _fresh_models(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    guards.forget_models()
    yield
    guards.forget_models()


def change(actor, **parts):
    expected = SafetySettings.objects.get(pk=1).changed_revision
    return change_safety(SafetyChange(**parts), by=actor, expected=expected, note="why")


def new_version(data: bytes, sha256: str = "", **manifest) -> SafetyModelVersion:
    shipped = SafetyModelVersion.objects.get(number=1)
    return SafetyModelVersion.objects.create(
        number=2,
        data=data,
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        manifest=shipped.manifest | {"file": "model-2.ftz"} | manifest,
        user_name="Ada",
    )


def test_a_new_installation_has_the_shipped_model_and_begins_in_shadow():
    spec = live.current().safety
    assert (spec.mode, spec.blocks_when_down, spec.model_number) == ("shadow", True, 1)
    assert spec.guard.self_test() == []
    assert spec.guard.check(BAD).category == SafetyCategory.VIOLENCE
    assert SafetySettings.objects.get(pk=1).model.data == b""


def test_a_change_is_one_release_with_an_audit_entry(actor, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        config = change(
            actor,
            mode=SafetyMode.ENFORCE,
            when_language=WhenUnavailable.ALLOW,
            when_down=WhenUnavailable.ALLOW,
            thresholds={"violence": 0.9},
            terms=(Term("deny", "  acme   cola ", "other"), Term("allow", "shoot a sunset", "violence")),
        )
    assert config.changed_revision == LiveConfiguration.objects.get(pk=1).revision == 1
    entry = AuditEntry.objects.get(action="safety.changed")
    assert entry.before == {
        "mode": "shadow",
        "when_language": "block",
        "when_down": "block",
        "violence_from": OWN[SafetyCategory.VIOLENCE],
        "allow_terms": "",
        "deny_terms": "",
    }
    assert entry.after == {
        "mode": "enforce",
        "when_language": "allow",
        "when_down": "allow",
        "violence_from": 0.9,
        "allow_terms": "shoot a sunset",
        "deny_terms": "acme cola (other)",
    }
    assert (entry.note, entry.revision) == ("why", 1)
    stored = Release.objects.get(pk=1).configuration["safety"]
    assert (stored["mode"], stored["model"], stored["deny_terms"]) == ("enforce", 1, "acme cola (other)")
    spec = live.current().safety
    assert (spec.mode, spec.blocks_when_down) == ("enforce", False)
    assert spec.policy.thresholds[SafetyCategory.VIOLENCE] == 0.9
    assert spec.policy.thresholds[SafetyCategory.HATE] == OWN[SafetyCategory.HATE]
    assert spec.guard.check("drink Acme Cola in the sun").reason == 'The text contains the denied term "acme cola"'


def test_a_change_leaves_other_parts_unchanged(actor):
    change(actor, mode="enforce", terms=(Term("deny", "acme", "other"),))
    change(actor, when_language="allow", when_down="allow")
    config = SafetySettings.objects.get(pk=1)
    assert (config.mode, SafetyTerm.objects.get().text) == ("enforce", "acme")
    change(actor, terms=(Term("deny", "acme", "hate"), Term("deny", "bolt", "other")))
    assert set(SafetyTerm.objects.values_list("text", "category")) == {("acme", "hate"), ("bolt", "other")}
    change(actor, terms=())
    assert not SafetyTerm.objects.exists()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"mode": "loud"}, "loud"),
        ({"when_down": "maybe"}, "maybe"),
        ({"when_language": "maybe"}, "maybe"),
        ({"thresholds": {"rude": 0.5}}, "Unknown category: rude"),
        ({"thresholds": {"hate": 0.0}}, "0.01 to 1"),
        ({"thresholds": {"hate": 1.5}}, "0.01 to 1"),
        ({"thresholds": {"hate": float("nan")}}, "0.01 to 1"),
        ({"thresholds": {"hate": "0.5"}}, "0.01 to 1"),
        ({"terms": (Term("deny", "acme", ""),)}, "Choose a category"),
        ({"terms": (Term("deny", "acme", "rude"),)}, "Choose a category"),
        ({"terms": (Term("maybe", "acme"),)}, "Unknown kind of term: maybe"),
        ({"terms": (Term("allow", "  "),)}, "no letters or digits"),
        ({"terms": (Term("allow", "***"),)}, "no letters or digits"),
        ({"terms": (Term("allow", "a" * 201),)}, "longer than 200"),
        ({"terms": (Term("allow", "a\x00b"),)}, "invalid characters"),
        ({"terms": (Term("allow", "a\ud800b"),)}, "invalid characters"),
        ({"terms": tuple(Term("allow", f"word{n}") for n in range(2001))}, "at most 2,000"),
    ],
)
def test_invalid_values_are_refused_and_nothing_changes(actor, parts, message):
    with pytest.raises(ValidationError) as refused:
        change(actor, **parts)
    assert message in " ".join(refused.value.messages)
    assert LiveConfiguration.objects.get(pk=1).revision == 0


def test_a_change_is_refused_if_the_filter_has_changed_since(actor):
    change(actor, mode="off")
    with pytest.raises(Stale):
        change_safety(SafetyChange(mode="enforce"), by=actor, expected=0)
    with pytest.raises(Stale):
        use_model(new_version(b"a model"), by=actor, expected=0)
    assert SafetySettings.objects.get(pk=1).mode == "off"


def test_no_change_is_no_release(actor):
    for parts in ({}, {"mode": "shadow"}, {"terms": ()}, {"thresholds": {}}):
        with pytest.raises(Refused):
            change(actor, **parts)
    assert LiveConfiguration.objects.get(pk=1).revision == 0


OWN = read_manifest(SHIPPED / "current.json").thresholds
WHOLE = (SHIPPED / "model-2.ftz").read_bytes() + b"\0"  # another file, of the same model


def test_another_model_goes_live_and_back(actor, django_capture_on_commit_callbacks, tmp_path):
    first, second = SafetyModelVersion.objects.get(number=1), new_version(WHOLE)
    live.current()
    guards.model_of(second).get()  # here, since other threads do not see what this test has not committed
    with django_capture_on_commit_callbacks(execute=True):
        config = use_model(second, by=actor, expected=0, note="newer")
    assert live.current().safety.model_number == 2
    assert live.current().safety.guard.self_test() == []
    assert (tmp_path / "safety-cache" / f"{second.sha256}.ftz").read_bytes() == WHOLE
    entry = AuditEntry.objects.get(action="safety.model_changed")
    assert (entry.before, entry.after) == ({"model": 1}, {"model": 2})
    with pytest.raises(Refused):
        use_model(second, by=actor, expected=config.changed_revision)
    with django_capture_on_commit_callbacks(execute=True):
        use_model(first, by=actor, expected=config.changed_revision)
    assert live.current().safety.model_number == 1
    assert Release.objects.get(pk=2).configuration["safety"]["model"] == 1


@pytest.mark.parametrize("content", [None, b"", WHOLE[:500_000], b"something else", b"\0" * len(WHOLE)])
def test_a_cached_file_that_is_not_what_it_should_be_is_replaced(content, tmp_path):
    version = new_version(WHOLE)
    cached = tmp_path / "safety-cache" / f"{version.sha256}.ftz"
    if content is not None:
        cached.parent.mkdir()
        cached.write_bytes(content)
    assert guards.model_of(version).get()[1] is None
    assert cached.read_bytes() == WHOLE
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


@pytest.mark.parametrize(
    ("data", "sha256", "manifest", "message"),
    [
        (b"", "a" * 64, {}, "model-2.ftz that ships with PromptOps is missing or has changed"),
        (b"", "b" * 64, {"file": "../../../secret"}, "secret that ships with PromptOps is missing"),
        (WHOLE[:500_000], "c" * 64, {}, "is not the one that its manifest describes"),
        (WHOLE[:500_000], "", {}, "not a whole fastText model"),
        (b"no model at all", "", {}, "could not be loaded"),
        (WHOLE, "", {"labels": {"safe": None}}, "are not mapped to a category"),
        (WHOLE, "", {"labels": 5}, "not the manifest of a safety model"),
        (WHOLE, "", {"thresholds": {"rude": 1}}, "not the manifest of a safety model"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_unavailable_with_the_reason(data, sha256, manifest, message):
    version = new_version(data, sha256, **manifest)
    model, reason = guards.model_of(version).get()
    assert model is None
    assert message in reason
    verdict = guards.SafetyGuard(guards.model_of(version)).check("a fox")
    assert (verdict.decision, verdict.reason) == (VerdictDecision.UNAVAILABLE, reason)


def test_a_shipped_file_that_was_swapped_is_unavailable(monkeypatch, tmp_path):
    shutil.copy(SHIPPED / "current.json", tmp_path)
    (tmp_path / "model-2.ftz").write_bytes(WHOLE)
    monkeypatch.setattr(guards, "SHIPPED", tmp_path)
    spec = live.load().safety
    assert spec.guard.check("a fox").decision == VerdictDecision.UNAVAILABLE
    assert "model-2.ftz" in spec.guard.self_test()[0]


def test_a_setting_that_broke_the_policy_would_not_stop_the_server(actor):
    """As when somebody edits the database by hand."""
    SafetySettings.objects.filter(pk=1).update(thresholds={"rude": 1})
    spec = live.load().safety
    assert spec.guard.check(BAD).decision == VerdictDecision.UNAVAILABLE
    assert "rude" in spec.guard.check(BAD).reason


def test_migrating_back_reads_no_column_that_is_gone():
    before = MigrationLoader(None).project_state(("promptops", "0018_release_comparison")).apps
    # The row cannot be read: this database lacks a column of the older one.
    with CaptureQueriesContext(connection) as captured, suppress(DatabaseError), transaction.atomic():
        ensure_single_rows("default", apps=before)
    statements = " ".join(query["sql"] for query in captured)
    assert "promptops_safetysettings" in statements
    assert "terms_revision" not in statements


def test_python_does_not_end_while_the_filter_is_loaded():
    daemons, done = [], threading.Event()

    class Guard:
        def self_test(self):
            daemons.append(threading.current_thread().daemon)
            done.set()
            return []

    guards.warm_up(SimpleNamespace(mode=SafetyMode.SHADOW, guard=Guard(), asks_second=False))
    assert done.wait(5)
    assert daemons == [False]
