"""A freeze stops every release, except those whose action says that it passes. Each registered action is tried."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from promptops.fleet.actions import levers
from promptops.fleet.enums import LeverKind
from promptops.ledger import registry
from promptops.ledger.errors import Frozen
from promptops.ledger.models import LiveConfiguration, Release
from promptops.ledger.releases import next_revision, record_release

# The decision for each action that passes. Whoever adds one says here why.
PASSES = {
    "lever.pulled": "levers stay possible",
    "lever.ended": "levers stay possible, and a freeze must be able to end",
    "lever.last_good": "levers stay possible",
    "provider.enabled": "an incident may need another provider",
    "provider.disabled": "a provider that spoils the answers must be turned off",
    "secret_key.replaced": "without it the server does not start",
    "variable.renamed": "an upgrade does it, and texts mean what they meant before",
}
WHEN_STRICTER = {"safety.changed", "safety.rolled_back"}


@pytest.fixture
def freeze(actor):
    hour = timezone.now() + timedelta(hours=1)
    return levers.pull(LeverKind.FREEZE, by=actor, note="Bad prompts", expires_at=hour)


@pytest.mark.parametrize("action", registry.names())
def test_every_action_is_refused_or_says_that_it_passes(action, freeze, actor):
    before = LiveConfiguration.objects.get().revision
    if action in PASSES:
        with transaction.atomic():
            record_release(next_revision(), action, by=actor)
        assert Release.objects.get(pk=before + 1).action == action
        return
    values = ({"mode": "enforce"}, {"mode": "off"}) if action in WHEN_STRICTER else (None, None)
    with (
        pytest.raises(Frozen, match=r"Ada Administrator froze releases until .* UTC: Bad prompts"),
        transaction.atomic(),
    ):
        record_release(next_revision(), action, by=actor, before=values[0], after=values[1])
    assert LiveConfiguration.objects.get().revision == before
    assert not Release.objects.filter(pk=before + 1).exists()


@pytest.mark.parametrize("action", sorted(WHEN_STRICTER))
def test_a_stricter_filter_passes(action, freeze, actor):
    with transaction.atomic():
        record_release(next_revision(), action, by=actor, before={"mode": "shadow"}, after={"mode": "enforce"})


def test_what_passes_is_what_the_actions_declare():
    declared = {action.name for action in registry.actions() if action.passes_freeze is True}
    assert declared == set(PASSES)
    assert {action.name for action in registry.actions() if callable(action.passes_freeze)} == WHEN_STRICTER
