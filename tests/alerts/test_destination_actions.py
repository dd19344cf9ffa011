"""Destinations: who changed what, and that no secret leaves the encrypted columns."""

from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import override_settings

from promptops.alerts.actions import deliveries, destinations
from promptops.alerts.actions.destinations import DestinationFields, Rules
from promptops.alerts.models import AlertRules, Destination
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.platform import crypto
from promptops.site.actions import replace_secret_key
from tests.alerts.helpers import ADDRESS, save_email, save_webhook

pytestmark = pytest.mark.django_db
FIELDS = DestinationFields("On call", "webhook", ("provider.down",), 5)
NEW = replace(FIELDS, address=ADDRESS)


def audit() -> str:
    """Return every value of the audit's entries about alerts."""
    return repr(list(AuditEntry.objects.filter(action__startswith="alerts.").values()))


def test_secrets_are_stored_encrypted_and_in_no_entry(actor):
    row, secret = destinations.add(NEW, by=actor)
    new = destinations.rotate_secret(row, by=actor)[1]
    destinations.change(row, replace(NEW, address=f"{ADDRESS}2"), by=actor, expected=1)
    destinations.set_enabled(row, False, by=actor)
    destinations.remove(row, by=actor, note="Moved")
    assert secret.startswith("whsec_")
    stored = repr(vars(row))
    for text in (secret, new, "topsecretpath", "/services/"):
        assert text not in stored
        assert text not in audit()
    assert "https://hooks.example.org" in audit()
    assert AuditEntry.objects.get(action="alerts.changed").after["address_changed"] is True
    assert not Destination.objects.exists()


def test_a_change_keeps_the_stored_address_and_needs_the_newest_edition(actor):
    row = save_webhook(actor)
    changed = destinations.change(row, FIELDS, by=actor, expected=1)
    assert (crypto.decrypt(changed.address_encrypted), changed.hold_minutes) == (ADDRESS, 5)
    with pytest.raises(Refused, match="No changes"):
        destinations.change(row, FIELDS, by=actor, expected=2)
    with pytest.raises(Stale, match="Someone changed"):
        destinations.change(row, FIELDS, by=actor, expected=1)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (DestinationFields("ON CALL", "webhook", ("provider.down",), address=ADDRESS), "of that name"),
        (DestinationFields("", "webhook", ("provider.down",), address=ADDRESS), "blank"),
        (DestinationFields("Other", "webhook", ("no.such",), address=ADDRESS), "at least one kind"),
        (DestinationFields("Other", "webhook", ("provider.down",), 9999, ADDRESS), "1440"),
        (DestinationFields("Other", "webhook", ("provider.down",)), "Give an address"),
        (DestinationFields("Other", "email", ("provider.down",)), "1 to 20"),
        (DestinationFields("Other", "email", ("provider.down",), recipients=("ada",)), "no.* an e-mail address"),
        (
            DestinationFields("Other", "email", ("provider.down",), recipients=("a@b.example\nBcc: c@d.example",)),
            "not an e-mail address",
        ),
    ],
)
def test_what_is_refused(actor, fields, why):
    save_webhook(actor)
    with pytest.raises(destinations.ValidationError, match=why):
        destinations.add(fields, by=actor)
    assert Destination.objects.count() == 1


def test_turning_off_cancels_what_waits_and_on_forgets_the_failure(actor, publish):
    row = save_webhook(actor)
    deliveries.queue(deliveries.Message("1", "test", "Something.", row.made_at), [row])
    row.failing_since = row.made_at
    row.save()
    off = destinations.set_enabled(row, False, by=actor)
    assert (off.enabled, row.deliveries.get().state) == (False, "canceled")
    on = destinations.set_enabled(row, True, by=actor)
    assert (on.enabled, on.failing_since) == (True, None)
    with pytest.raises(Stale, match="on already"):
        destinations.set_enabled(row, True, by=actor)


def test_a_new_secret_key_encrypts_the_secrets_and_a_lost_one_drops_them(actor, settings):
    row, secret = destinations.add(NEW, by=actor)
    team = save_email(actor)
    old, new = settings.SECRET_KEY, "quite another secret key, long enough to be taken"
    with override_settings(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old]):
        assert replace_secret_key(by=actor) == 0
    with override_settings(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[]):
        row.refresh_from_db()
        assert (crypto.decrypt(row.secret_encrypted), crypto.decrypt(row.address_encrypted)) == (secret, ADDRESS)
    stdout = StringIO()
    call_command("replace_secret_key", stdout=stdout)
    assert "1 stored provider keys and webhook secrets were dropped" in stdout.getvalue()
    row.refresh_from_db()
    team.refresh_from_db()
    assert (row.enabled, row.address_encrypted, row.secret_encrypted, team.enabled) == (False, "", "", True)
    with pytest.raises(Refused, match="Enter the address again"):
        destinations.set_enabled(row, True, by=actor)
    destinations.change(row, NEW, by=actor, expected=1)
    destinations.rotate_secret(row, by=actor)
    assert destinations.set_enabled(row, True, by=actor).enabled


def test_rules_have_bounds_and_an_edition(actor):
    destinations.change_rules(Rules(50, 5, 10), by=actor, expected=0)
    with pytest.raises(Stale):
        destinations.change_rules(Rules(60, 5, 10), by=actor, expected=0)
    with pytest.raises(destinations.ValidationError):
        destinations.change_rules(Rules(101, 5, 10), by=actor, expected=1)
    row = AlertRules.objects.get()
    assert (row.error_percent, row.error_minutes, row.error_runs) == (50, 5, 10)


def test_there_is_a_most_of_destinations(actor, monkeypatch):
    monkeypatch.setattr(destinations, "MOST_DESTINATIONS", 1)
    save_webhook(actor)
    with pytest.raises(Refused, match="Remove one"):
        save_webhook(actor, "Other")
