"""Changes of providers: the effect of each, its refusals, and secret keys."""

import logging

import pytest
from django.core.exceptions import ValidationError

from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.live import snapshots as live
from promptops.platform import crypto
from promptops.providers import following
from promptops.providers.actions import chain
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.live_part import provider_spec
from promptops.providers.models import Provider

pytestmark = pytest.mark.django_db

KEY = "gsk_very-secret-4711"


def groq(**fields) -> ProviderFields:
    return ProviderFields(**{"name": "groq", "kind": "groq", "model": "openai/gpt-oss-120b"} | fields)


@pytest.fixture
def provider(actor) -> Provider:
    return chain.create_provider(groq(), by=actor, key=KEY)


@pytest.fixture
def three(actor) -> list[int]:
    names = ("one", "two", "three")
    return [chain.create_provider(groq(name=name), by=actor).pk for name in names]


def revision() -> int:
    return LiveConfiguration.objects.get().revision


def newest_entry() -> AuditEntry:
    """Return the newest audit entry, after a check that it belongs to the newest release."""
    entry = AuditEntry.objects.first()
    assert entry.revision == revision()
    assert Release.objects.get(revision=entry.revision).action == entry.action
    return entry


def test_a_new_provider_comes_last_and_is_live(actor, three):
    before = revision()
    made = chain.create_provider(groq(timeout_ms=4000), by=actor, key_env="GROQ_API_KEY", note="spare")
    assert [spec.name for spec in live.load().providers] == ["one", "two", "three", "groq"]
    assert (made.position, made.enabled, made.changed_revision) == (4, True, before + 1)
    entry = newest_entry()
    assert (entry.action, entry.object_name, entry.note) == ("provider.created", "groq", "spare")
    assert entry.after["key"] == "from GROQ_API_KEY"


@pytest.mark.parametrize(
    ("fields", "key", "field"),
    [
        (groq(name="Groq"), {}, "name"),
        (groq(name=""), {}, "name"),
        (groq(name="taken"), {}, "name"),
        (groq(kind="telepathy"), {}, "kind"),
        (groq(kind="openai"), {}, "base_url"),
        (groq(base_url="ftp://files.example"), {}, "base_url"),
        (groq(base_url="https://me:hunter2@api.example/v1"), {}, "base_url"),
        (groq(base_url="https://api.example/v1?key=hunter2"), {}, "base_url"),
        (groq(base_url="api.example"), {}, "base_url"),
        (groq(base_url="http://["), {}, "base_url"),
        (groq(base_url="http://a:99999999/v1"), {}, "base_url"),
        (groq(timeout_ms=99), {}, "timeout_ms"),
        (groq(timeout_ms=600_001), {}, "timeout_ms"),
        (groq(max_concurrent=0), {}, "max_concurrent"),
        (groq(context_tokens=0), {}, "context_tokens"),
        (groq(price_input=-1.0, price_output=1.0), {}, "price_input"),
        (groq(price_input=1.0, price_output=100_001.0), {}, "price_output"),
        (groq(price_input=1.0), {}, "price_output"),
        (groq(price_output=1.0, price_cached=1.0), {}, "price_input"),
        (groq(price_cached=0.0), {}, "price_input"),
        (groq(price_input=float("nan"), price_output=1.0), {}, "__all__"),
        (groq(), {"key": KEY, "key_env": "GROQ_API_KEY"}, "key"),
        (groq(), {"key": f"{KEY}\n{KEY}"}, "key"),
        (groq(), {"key": "schlüssel"}, "key"),
        (groq(), {"key_env": "GROQ-API-KEY"}, "key_env"),
        (groq(), {"key_env": "SECRET_KEY"}, "key_env"),
        (groq(), {"key_env": "database_url"}, "key_env"),
        (ProviderFields("local", "local", base_url="http://127.0.0.1/v1"), {}, "__all__"),
        (ProviderFields("local", "local"), {"key": KEY}, "__all__"),
        (ProviderFields("local", "local", price_input=0.0, price_output=0.0), {}, "__all__"),
        (ProviderFields("local", "local", context_tokens=1), {}, "__all__"),
        (ProviderFields("local", "local", fall_back_on_not_found=True), {}, "__all__"),
        (ProviderFields("local", "local", adaptations=("no_temperature",)), {}, "__all__"),
        (groq(first_text_ms=99), {}, "first_text_ms"),
        (groq(stall_ms=600_001), {}, "stall_ms"),
        (groq(timeout_ms=1000, stall_ms=1001), {}, "stall_ms"),
        (groq(adaptations=("no_such_thing",)), {}, "adaptations"),
        (groq(json_mode="yaml"), {}, "json_mode"),
    ],
)
def test_invalid_fields_are_refused_and_change_nothing(fields, key, field, actor):
    chain.create_provider(groq(name="taken"), by=actor)
    before, entries = revision(), AuditEntry.objects.count()
    with pytest.raises(ValidationError) as refused:
        chain.create_provider(fields, by=actor, **key)
    named = refused.value.error_dict if hasattr(refused.value, "error_dict") else {"__all__": []}
    assert field in named
    assert "hunter2" not in str(refused.value)
    assert KEY not in str(refused.value)
    assert (revision(), AuditEntry.objects.count(), Provider.objects.count()) == (before, entries, 1)


def test_an_edit_is_live_and_audited_with_before_and_after(provider, actor):
    before = revision()
    chain.edit_provider(
        provider, groq(model="new", timeout_ms=900), by=actor, expected=provider.changed_revision, note="faster"
    )
    spec = live.load().providers[0]
    assert (spec.model, spec.timeout_ms, spec.api_key, revision()) == ("new", 900, KEY, before + 1)
    entry = newest_entry()
    assert (entry.before["model"], entry.after["model"]) == ("openai/gpt-oss-120b", "new")
    assert (entry.before["key"], entry.after["key"], entry.note) == ("stored key", "stored key", "faster")


def test_limits_prices_and_fallback_are_live_and_audited(provider, actor):
    extras = {
        "max_concurrent": 4,
        "context_tokens": 8192,
        "price_input": 0.35,
        "price_cached": 0.0,
        "price_output": 0.75,
        "first_text_ms": 2000,
        "stall_ms": 1500,
        "fall_back_on_auth": False,
        "fall_back_on_not_found": True,
        "fall_back_on_refused": False,
        "json_mode": "none",
    }
    fields = groq(**extras, adaptations=("system_in_user", "no_temperature"))
    chain.edit_provider(provider, fields, by=actor, expected=provider.changed_revision)
    spec = live.load().providers[0]
    assert (spec.max_concurrent, spec.context_tokens, spec.fall_back_on) == (4, 8192, {"not_found"})
    assert (spec.first_text_ms, spec.stall_ms) == (2000, 1500)
    assert spec.adaptations == {"no_temperature", "system_in_user"}
    assert spec.json_mode == "none"
    assert (spec.prices.input, spec.prices.cached, spec.prices.output) == (0.35, 0.0, 0.75)
    entry = newest_entry()
    assert {name: entry.after[name] for name in extras} == extras
    assert entry.after["adaptations"] == "no_temperature, system_in_user"
    assert (entry.before["price_input"], entry.before["fall_back_on_auth"]) == (None, True)
    kept = Release.objects.get(revision=entry.revision).configuration["providers"][0]
    assert (kept["stall_ms"], kept["adaptations"]) == (1500, ["no_temperature", "system_in_user"])


def test_a_new_provider_falls_back_on_errors_that_another_may_not_have(actor, provider):
    assert live.load().providers[0].fall_back_on == {"auth", "refused"}
    made = chain.create_provider(ProviderFields("local", "local"), by=actor)
    assert provider_spec(made).fall_back_on == {"refused"}


@pytest.mark.parametrize("pasted", ["https://a.example/v1/chat/completions", "https://a.example/v1/chat/completions//"])
def test_the_endpoint_is_dropped_from_a_base_url(pasted, actor, provider):
    assert chain.planned(groq(name="new", base_url=pasted)).base_url == "https://a.example/v1"
    after = chain.edit_provider(provider, groq(base_url=pasted), by=actor, expected=provider.changed_revision)
    assert after.base_url == "https://a.example/v1"
    kept = "https://a.example/v1/"
    assert chain.planned(groq(name="new", base_url=kept)).base_url == kept


def test_asking_again_ends_the_cooldown_in_this_process_once(
    provider, actor, monkeypatch, django_capture_on_commit_callbacks
):
    ended = []
    monkeypatch.setattr(live.health, "end_cooldown", ended.append)
    with django_capture_on_commit_callbacks(execute=True):
        chain.ask_again(provider, by=actor)
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.revision) == ("provider.cooldown_ended", None)
    following.end_cooldown("groq", entry.seq)  # as following does half a second later
    assert ended == ["groq"]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (groq(name="renamed", timeout_ms=500), True),
        (groq(base_url="https://api.groq.example/v1"), False),
        (groq(kind="cerebras"), False),
        (ProviderFields("groq", "local"), False),
    ],
)
def test_a_stored_key_goes_to_no_other_server(fields, kept, provider, actor):
    after = chain.edit_provider(provider, fields, by=actor, expected=provider.changed_revision)
    assert bool(after.key_encrypted) == kept
    assert newest_entry().after["key"] == ("stored key" if kept else "no key")


def test_a_new_path_on_the_same_server_keeps_the_key(actor):
    made = chain.create_provider(groq(base_url="https://a.example/v1"), by=actor, key=KEY)
    after = chain.edit_provider(made, groq(base_url="https://a.example/v2"), by=actor, expected=made.changed_revision)
    assert crypto.decrypt(after.key_encrypted) == KEY


def test_an_edit_that_changes_nothing_is_refused(provider, actor):
    before = revision()
    with pytest.raises(Refused, match="No changes to save"):
        chain.edit_provider(provider, groq(), by=actor, expected=provider.changed_revision)
    assert revision() == before


@pytest.mark.parametrize("act", ["edit", "key", "remove"])
@pytest.mark.parametrize("meanwhile", ["changed", "removed"])
def test_the_slower_of_two_is_refused(act, meanwhile, provider, actor):
    expected = provider.changed_revision
    off = chain.set_enabled(provider, False, by=actor)
    if meanwhile == "removed":
        chain.remove_provider(off, by=actor, expected=off.changed_revision)
    before = revision()
    acts = {
        "edit": lambda: chain.edit_provider(provider, groq(model="x"), by=actor, expected=expected),
        "key": lambda: chain.change_key(provider, by=actor, expected=expected, key="other"),
        "remove": lambda: chain.remove_provider(provider, by=actor, expected=expected),
    }
    with pytest.raises(Stale, match=meanwhile):
        acts[act]()
    assert revision() == before


@pytest.mark.parametrize(
    ("sent", "state", "api_key", "key_env"),
    [
        ({"key": " other-key "}, "stored key, changed", "other-key", None),
        ({"key_env": "MY_API_KEY"}, "from MY_API_KEY", None, "MY_API_KEY"),
        ({}, "no key", None, None),
    ],
)
def test_a_key_is_replaced(sent, state, api_key, key_env, provider, actor):
    chain.change_key(provider, by=actor, expected=provider.changed_revision, **sent)
    spec = live.load().providers[0]
    assert (spec.api_key, spec.key_env) == (api_key, key_env)
    entry = newest_entry()
    assert (entry.action, entry.before, entry.after) == ("provider.key_changed", {"key": "stored key"}, {"key": state})


def test_naming_the_same_variable_again_is_refused(actor):
    made = chain.create_provider(groq(), by=actor, key_env="GROQ_API_KEY")
    with pytest.raises(Refused, match="No changes"):
        chain.change_key(made, by=actor, expected=made.changed_revision, key_env="GROQ_API_KEY")


def test_turning_off_takes_it_out_of_the_chain_and_on_brings_it_back(three, actor):
    second = Provider.objects.get(pk=three[1])
    chain.set_enabled(second, False, by=actor, note="broken")
    assert [spec.name for spec in live.load().providers] == ["one", "three"]
    assert (newest_entry().action, newest_entry().note) == ("provider.disabled", "broken")
    with pytest.raises(Stale, match="already off"):
        chain.set_enabled(second, False, by=actor)
    chain.set_enabled(second, True, by=actor)
    assert [spec.name for spec in live.load().providers] == ["one", "two", "three"]
    assert newest_entry().action == "provider.enabled"


def test_only_a_provider_that_is_off_can_be_removed(provider, actor):
    with pytest.raises(Refused, match="Turn it off first"):
        chain.remove_provider(provider, by=actor, expected=provider.changed_revision)
    off = chain.set_enabled(provider, False, by=actor)
    chain.remove_provider(off, by=actor, expected=off.changed_revision)
    assert not Provider.objects.exists()
    assert (newest_entry().action, newest_entry().before["name"]) == ("provider.removed", "groq")
    with pytest.raises(Stale, match="Someone removed"):
        chain.set_enabled(off, True, by=actor)


def test_reordering_changes_the_chain(three, actor):
    one, two, last = three
    chain.reorder([last, one, two], by=actor, expected=three, note="cheaper first")
    assert [spec.name for spec in live.load().providers] == ["three", "one", "two"]
    entry = newest_entry()
    assert (entry.action, entry.note) == ("provider.reordered", "cheaper first")
    assert (entry.before, entry.after) == ({"order": ["one", "two", "three"]}, {"order": ["three", "one", "two"]})


@pytest.mark.parametrize(
    ("order", "expected", "error"),
    [
        ([0, 1, 2], [0, 1, 2], Refused),
        ([1, 0, 2], [2, 1, 0], Stale),
        ([1, 0], [0, 1], Stale),
        ([1, 0], [0, 1, 2], Stale),
        ([1, 1, 2], [0, 1, 2], Stale),
        ([1, 0, 2, 2], [0, 1, 2], Stale),
    ],
)
def test_an_order_that_does_not_fit_is_refused(order, expected, error, three, actor):
    before = revision()
    with pytest.raises(error):
        chain.reorder([three[n] for n in order], by=actor, expected=[three[n] for n in expected])
    assert (revision(), list(Provider.objects.values_list("pk", flat=True))) == (before, three)


def test_a_key_is_in_no_audit_entry_log_or_repr(provider, actor, caplog):
    caplog.set_level(logging.DEBUG)
    chain.change_key(provider, by=actor, expected=provider.changed_revision, key=f"{KEY}-2")
    provider.refresh_from_db()
    off = chain.set_enabled(provider, False, by=actor)
    snapshot = live.load()
    chain.remove_provider(off, by=actor, expected=off.changed_revision)
    entries = list(AuditEntry.objects.values())
    assert len(entries) == 4
    everything = f"{entries} {list(Release.objects.values())} {provider!r} {snapshot!r} {caplog.text}"
    assert KEY not in everything
    assert provider.key_encrypted not in everything
    assert KEY not in provider.key_encrypted
    assert crypto.decrypt(provider.key_encrypted) == f"{KEY}-2"
