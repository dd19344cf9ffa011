"""Tokens: making, rotating and revoking them, their memory in each process, and the Tokens page."""

import asyncio
import io
import re
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from promptops.ledger import audit
from promptops.ledger.audit import COMMAND_LINE, Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.live import polling
from promptops.people import queries, tokens
from promptops.people.actions import accounts
from promptops.people.actions import tokens as actions
from promptops.people.enums import Scope
from promptops.people.models import Token
from promptops.people.new_accounts import clean_name
from promptops.people.tokens import InvalidToken

in_process = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_tokens_in_memory(monkeypatch):
    tokens.forget_all()
    monkeypatch.setattr(tokens, "REVOKED", [])
    yield
    tokens.forget_all()


verify = async_to_sync(tokens.verify)


@pytest.mark.django_db
def test_only_the_hash_of_a_token_is_stored(actor):
    token, text = actions.make_token("fleet", ["read", "run"], by=actor, server="gpu-7", days=3)
    assert re.fullmatch(r"po_[A-Za-z0-9_-]{43}", text)
    token.refresh_from_db()
    assert text not in str(vars(token))
    assert text not in str(list(AuditEntry.objects.values()))
    assert token.expires_at - token.made_at == pytest.approx(timedelta(days=3), abs=timedelta(minutes=1))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "with space"},
        {"name": "x" * 41},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"server": "a b"},
        {"days": 0},
        {"days": 3651},
    ],
)
def test_an_invalid_token_is_refused(actor, options):
    facts = {"name": "fleet", "scopes": ["read"]} | options
    with pytest.raises(ValidationError):
        actions.make_token(facts.pop("name"), facts.pop("scopes"), by=actor, **facts)
    assert not Token.objects.exists()


@pytest.mark.django_db
def test_a_usable_token_has_its_name_for_itself(actor):
    first, _ = actions.make_token("fleet", ["read"], by=actor)
    with pytest.raises(Refused):
        actions.make_token("FLEET", ["read"], by=actor)
    actions.revoke_token(first, by=actor)
    actions.make_token("fleet", ["read"], by=actor)


@in_process
def test_a_rotated_token_works_beside_the_new_one_until_it_expires(actor):
    older, old_text = actions.make_token("fleet", ["read"], by=actor, server="gpu-7")
    assert verify(old_text).expires_at is None
    newer, new_text = actions.rotate_token(older, by=actor, overlap_days=2)
    assert (newer.name, newer.scopes, newer.server) == ("fleet", ["read"], "gpu-7")
    assert verify(new_text).id == newer.pk
    assert verify(old_text).expires_at < timezone.now() + timedelta(days=2, seconds=1)
    with pytest.raises(Stale):
        actions.rotate_token(older, by=actor)
    third, _ = actions.rotate_token(newer, by=actor, overlap_days=0)
    with pytest.raises(InvalidToken):
        verify(new_text)
    assert third.replaces_id == newer.pk


@in_process
def test_an_overlap_never_makes_a_token_last_longer(actor):
    older, _ = actions.make_token("fleet", ["read"], by=actor, days=1)
    end = older.expires_at
    actions.rotate_token(older, by=actor, overlap_days=30)
    older.refresh_from_db()
    assert older.expires_at == end


@in_process
def test_a_revoked_token_ends_its_connections_at_once(actor):
    token, text = actions.make_token("fleet", ["read"], by=actor)
    ended = []
    tokens.REVOKED.append(ended.append)

    async def connected() -> None:
        await tokens.verify(text)
        await asyncio.to_thread(actions.revoke_token, token, by=actor)
        await asyncio.sleep(0)
        with pytest.raises(InvalidToken):
            await tokens.verify(text)

    async_to_sync(connected)()
    assert ended == [token.pk]


@in_process
def test_a_token_that_another_process_revoked_is_dropped_at_the_next_look(actor, monkeypatch):
    token, text = actions.make_token("fleet", ["read"], by=actor)
    watched = polling.watches()["tokens"]
    ended = []
    tokens.REVOKED.append(ended.append)

    async def in_thread(work, *arguments):
        return await asyncio.to_thread(work, *arguments)

    async def follows() -> None:
        await tokens.verify(text)
        before = (await in_thread(polling.look)).values["tokens"]
        with monkeypatch.context() as elsewhere:  # the other process tells only the database
            elsewhere.setattr(tokens, "forget", lambda id: None)
            await in_thread(lambda: actions.revoke_token(token, by=actor))
        assert (await tokens.verify(text)).id == token.pk
        after = (await in_thread(polling.look)).values["tokens"]
        assert after > before
        await watched.changed(before, after, in_thread)
        await asyncio.sleep(0)
        with pytest.raises(InvalidToken):
            await tokens.verify(text)

    async_to_sync(follows)()
    assert ended == [token.pk]


@in_process
def test_a_restored_database_takes_back_tokens_that_it_does_not_have(actor):
    token, text = actions.make_token("fleet", ["read"], by=actor)
    verify(text)
    Token.objects.filter(pk=token.pk).update(token_sha256="0" * 64)
    tokens.recheck()
    with pytest.raises(InvalidToken):
        verify(text)


@in_process
def test_an_expired_token_is_refused_and_its_connections_end(actor, monkeypatch):
    token, text = actions.make_token("fleet", ["read"], by=actor, days=1)
    ended = []
    tokens.REVOKED.append(ended.append)

    async def expires() -> None:
        await tokens.verify(text)
        later = timezone.now() + timedelta(days=1, seconds=1)
        monkeypatch.setattr(tokens.timezone, "now", lambda: later)
        with pytest.raises(InvalidToken):
            await tokens.verify(text)
        tokens.forget_expired()
        await asyncio.sleep(0)

    async_to_sync(expires)()
    assert ended == [token.pk]


@in_process
def test_a_verified_token_works_for_five_minutes_without_the_database(actor, monkeypatch):
    _, text = actions.make_token("fleet", ["read"], by=actor)
    _, other = actions.make_token("other", ["read"], by=actor)
    verify(text)

    def away(key):
        raise OperationalError("gone")

    monkeypatch.setattr(tokens, "_row", away)
    now = tokens.time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + tokens.OFFLINE_SECONDS - 1)
    assert verify(text).name == "fleet"
    with pytest.raises(tokens.TokensUnavailable):
        verify(other)
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + tokens.OFFLINE_SECONDS + 1)
    with pytest.raises(tokens.TokensUnavailable):
        verify(text)


@in_process
def test_a_token_in_memory_costs_no_query_and_neither_does_a_repeated_wrong_one(actor, monkeypatch):
    _, text = actions.make_token("fleet", ["read"], by=actor)
    wrong = "po_" + "a" * 43
    verify(text)
    with pytest.raises(InvalidToken):
        verify(wrong)
    monkeypatch.setattr(tokens, "_row", None)
    assert verify(text).scopes == {Scope.READ}
    with pytest.raises(InvalidToken):
        verify(wrong)


@in_process
def test_refused_tokens_in_memory_are_bounded(db, monkeypatch):
    monkeypatch.setattr(tokens, "UNKNOWN_KEPT", 3)
    for letter in "abcdef":
        with pytest.raises(InvalidToken):
            verify(f"po_{letter * 43}")
    assert len(tokens._refused) == 3


@in_process
def test_the_last_use_is_written_in_batches(actor):
    made = [actions.make_token(f"fleet-{number}", ["read"], by=actor) for number in range(3)]
    for _, text in made[:2]:
        for _ in range(5):
            verify(text)
    assert not Token.objects.exclude(last_used_at=None).exists()
    assert actions.record_uses() == 2
    assert actions.record_uses() == 0
    assert Token.objects.exclude(last_used_at=None).count() == 2


@pytest.mark.django_db
def test_a_token_is_an_actor_of_its_own(actor):
    token, _ = actions.make_token("fleet", ["release"], by=actor)
    by = tokens.TokenIdentity(token.pk, "fleet", frozenset(), "", "Ada", None).actor("192.0.2.1", "job-1")
    entry = audit.record("settings.changed", by=by)
    assert (entry.actor_name, entry.actor_id, entry.token_id) == ("token fleet, made by Ada", None, token.pk)
    values = audit.hashed(getattr(entry, name) for name in audit.FIELDS)
    assert (values["token"], values["request_id"]) == (token.pk, "job-1")
    person = audit.record("settings.changed", by=actor)
    assert not {"token", "request_id"} & audit.hashed(getattr(person, name) for name in audit.FIELDS).keys()


def test_the_name_of_an_actor_fits_into_the_audit():
    assert len(tokens.actor_name("x" * 40, "M" * 100)) == audit.ACTOR_CHARACTERS


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["token fleet, made by Ada", "Token", "TOKEN x"])
def test_nobody_is_called_like_a_token(name):
    with pytest.raises(ValidationError):
        clean_name(name)


@pytest.mark.django_db
def test_the_command_prints_a_token():
    output = io.StringIO()
    call_command("create_token", "ci", "--scope", "read", "--scope", "run", "--days", "9", stdout=output)
    token = Token.objects.get()
    assert tokens.sha256_of(output.getvalue().strip()) == token.token_sha256
    assert (token.scopes, token.made_by_name) == (["read", "run"], COMMAND_LINE.name)
    with pytest.raises(CommandError):
        call_command("create_token", "ci", "--scope", "read")


@pytest.mark.django_db
def test_the_page_shows_a_new_token_once(administrator, client_for):
    client = client_for(administrator, htmx=True)
    facts = {"name": "fleet", "scopes": ["read", "follow"], "server": "gpu-7", "days": "30"}
    shown = client.post("/settings/tokens/make/", facts)
    text = re.search(r"po_[\w-]{43}", shown.content.decode())[0]
    assert Token.objects.get().token_sha256 == tokens.sha256_of(text)
    assert shown["Cache-Control"].startswith("max-age=0") or "no-store" in shown["Cache-Control"]
    assert text not in client.get("/settings/tokens/").content.decode()
    assert client.post("/settings/tokens/make/", facts).status_code == 409


@pytest.mark.django_db
def test_the_page_rotates_and_revokes(administrator, client_for, actor):
    token, _ = actions.make_token("fleet", ["read"], by=actor)
    client = client_for(administrator, htmx=True)
    assert client.get(f"/settings/tokens/{token.pk}/rotate/").status_code == 200
    assert "po_" in client.post(f"/settings/tokens/{token.pk}/rotate/", {"overlap_days": "3"}).content.decode()
    newest = Token.objects.get(replaces=token)
    assert "confirm" in client.post(f"/settings/tokens/{newest.pk}/revoke/").content.decode()
    client.post(f"/settings/tokens/{newest.pk}/revoke/", {"confirm": "1", "note": "leaked"})
    newest.refresh_from_db()
    assert newest.revoked_at
    assert AuditEntry.objects.get(action="token.revoked").note == "leaked"


@pytest.mark.django_db
def test_the_page_warns(administrator, client_for, make_user):
    gone = make_user("administrator", "gus", "Gus Gone")
    token, _ = actions.make_token("fleet", ["read"], by=Actor.person(gone), days=3)
    Token.objects.filter(pk=token.pk).update(made_at=timezone.now() - timedelta(days=30))
    accounts.deactivate(gone, by=Actor.person(administrator))
    page = client_for(administrator).get("/settings/tokens/")
    (row,) = page.context["window"].rows
    assert len(row.warnings) == 3
    assert page.content.decode().count("data-warning") == 3


@pytest.mark.django_db
def test_the_page_tells_the_two_tokens_of_a_rotation_apart(administrator, client_for, actor):
    older, _ = actions.make_token("fleet", ["read"], by=actor)
    newer, _ = actions.rotate_token(older, by=actor)
    client = client_for(administrator, htmx=True)
    panels = [client.post(f"/settings/tokens/{token.pk}/revoke/").content.decode() for token in (older, newer)]
    assert ["the older fleet" in panel for panel in panels] == [True, False]
    row = next(row for row in queries.tokens(timezone.now()) if row.token == older)
    (moves,) = row.warnings
    actions.revoke_token(newer, by=actor)
    row = next(row for row in queries.tokens(timezone.now()) if row.token == older)
    assert row.warnings != [moves], "nobody can move to a token that no longer works"


@pytest.mark.django_db
def test_the_page_reads_as_often_for_many_tokens(administrator, client_for, actor, django_assert_max_num_queries):
    client = client_for(administrator)
    actions.make_token("first", ["read"], by=actor)
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as one:
        client.get("/settings/tokens/")
    for number in range(30):
        actions.make_token(f"fleet-{number}", ["read"], by=actor)
    with django_assert_max_num_queries(len(one)):
        client.get("/settings/tokens/")
