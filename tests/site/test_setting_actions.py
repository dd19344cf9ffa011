"""The settings of the installation, and the replacement of a lost secret key."""

from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import override_settings

from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.prompts.actions.templates import create_template
from promptops.providers.models import Provider
from promptops.site import actions
from promptops.site.actions import Settings
from tests.factories import make_provider

pytestmark = pytest.mark.django_db

AS_THEY_ARE = Settings(timeout_ms=20_000, temperature=0.7, max_tokens=256, run_retention_days=30)
CHANGED = Settings(timeout_ms=9_000, temperature=0.2, max_tokens=512, run_retention_days=7)


def config() -> LiveConfiguration:
    return LiveConfiguration.objects.get(pk=1)


def test_a_change_is_live_and_audited(actor):
    before = config().revision
    actions.change_settings(CHANGED, by=actor, expected=0, note="faster")
    snapshot = live.load()
    assert (snapshot.revision, snapshot.settings.timeout_ms) == (before + 1, 9_000)
    assert (snapshot.settings.temperature, snapshot.settings.max_tokens) == (0.2, 512)
    assert (config().run_retention_days, config().settings_revision) == (7, before + 1)
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.revision, entry.note) == ("settings.changed", before + 1, "faster")
    assert (entry.before["timeout_ms"], entry.after["timeout_ms"]) == (20_000, 9_000)
    assert Release.objects.get(revision=before + 1).action == "settings.changed"


@pytest.mark.parametrize(
    ("settings", "expected", "error"),
    [
        (AS_THEY_ARE, 0, Refused),
        (CHANGED, 1, Stale),
        (Settings(499, 0.7, 256, 30), 0, ValidationError),
        (Settings(600_001, 0.7, 256, 30), 0, ValidationError),
        (Settings(20_000, -0.1, 256, 30), 0, ValidationError),
        (Settings(20_000, 2.1, 256, 30), 0, ValidationError),
        (Settings(20_000, 0.7, 0, 30), 0, ValidationError),
        (Settings(20_000, 0.7, 256, 0), 0, ValidationError),
        (Settings(20_000, 0.7, 256, 30, run_deletion_days=29), 0, ValidationError),
        (Settings(20_000, 0.7, 256, 30, run_deletion_days=3651), 0, ValidationError),
    ],
)
def test_what_is_refused_changes_nothing(settings, expected, error, actor):
    before = config().revision
    with pytest.raises(error):
        actions.change_settings(settings, by=actor, expected=expected)
    assert (config().revision, config().timeout_ms, AuditEntry.objects.count()) == (before, 20_000, 0)


def test_the_second_of_two_concurrent_changes_is_refused(actor):
    actions.change_settings(CHANGED, by=actor, expected=0)
    with pytest.raises(Stale, match="Someone changed the settings"):
        actions.change_settings(AS_THEY_ARE, by=actor, expected=0)
    assert config().timeout_ms == 9_000


def test_a_lost_secret_key_is_noticed_and_can_be_replaced(actor):
    with_variable = make_provider("vllm", "groq", by=actor, key_env="GROQ_API_KEY")
    lost = make_provider("groq", "groq", by=actor, key="gsk_1")
    assert actions.secret_key_fits()
    with override_settings(SECRET_KEY="quite another secret key, long enough to be taken"):
        assert not actions.secret_key_fits()
        create_template("enhance", "enhance", by=actor)
        stderr = StringIO()
        call_command("publish", "enhance", file="prompts/enhance.txt", stdout=StringIO(), stderr=stderr)
        assert "Warning: The secret key is not the one that this database was made with." in stderr.getvalue()
        assert actions.replace_secret_key(by=actor) == 1
        assert actions.secret_key_fits()
        assert actions.replace_secret_key(by=actor) == 0
    assert Provider.objects.get(pk=lost.pk).key_state == "no key"
    assert Provider.objects.get(pk=with_variable.pk).key_state == "from GROQ_API_KEY"
    entry = AuditEntry.objects.filter(action="secret_key.replaced").last()
    assert (entry.after, entry.revision) == ({"keys_lost": 1, "second_steps_lost": 0}, config().revision - 1)
