"""Every action that changes an audited table records an entry in the same transaction.

The tests call every public function of all actions and watch its statements. A function that is missing in CALLS fails.
`test_writes` checks that nothing else writes to the database.
"""

import hashlib
import importlib
import inspect
import pickle
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyotp
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as settings_of_django
from django.db import connection, models, transaction
from django.utils import timezone

from promptops import models as tables
from promptops.alerts.actions import deliveries as alert_deliveries
from promptops.alerts.actions import destinations, looking
from promptops.alerts.actions.deliveries import Answer, Message
from promptops.api import actions as api
from promptops.apps import registering_modules
from promptops.compare.actions import comparisons, prompt_sets, votes
from promptops.engine.types import PromptOperation
from promptops.fleet.actions import last_good, levers
from promptops.fleet.actions import servers as fleet
from promptops.fleet.enums import LeverKind
from promptops.fleet.models import Lever
from promptops.fleet.reports import Batch
from promptops.ledger import chain as audit_chain
from promptops.ledger import registry, sentences
from promptops.ledger.actions import backups, exports, trail
from promptops.ledger.models import AuditEntry, Release
from promptops.live import snapshots as live
from promptops.people import tokens as used_tokens
from promptops.people.actions import accounts, first_administrator, second_step, sign_on, tokens
from promptops.people.enums import LinkPurpose, Role
from promptops.people.models import OneTimeLink, Token
from promptops.prompts.actions import (
    drafts,
    handover,
    importing,
    merges,
    operations,
    presence,
    prompts,
    releases,
    renaming,
    restoring,
    samples,
    sets,
    templates,
    variables,
)
from promptops.prompts.actions.importing import Text
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Template, Variable
from promptops.providers.actions import adaptations, chain
from promptops.providers.actions import restoring as restoring_chain
from promptops.providers.models import Provider
from promptops.runs import plans
from promptops.runs.actions import deleting, erasing, execution, masking, records, reports
from promptops.safety.actions import filter_settings, second_looks
from promptops.safety.actions import reviews as safety_reviews
from promptops.safety.actions import training as safety_training
from promptops.site import actions as settings
from promptops.texts.inputs import Line
from tests.factories import make_provider
from tests.fleet.servers import save_server, unsaved_server
from tests.invariants.watching import PROTECTED, Watch, watched
from tests.invariants.world import (
    CHANGED,
    FIELDS,
    JOINER,
    NEW,
    NEW_SET,
    PASSWORD,
    SECOND,
    SECRET,
    SIGNED_ON,
    WEBHOOK,
    World,
    another_model,
    archive,
    changed_set,
    claimed,
    counted,
    destination,
    disputed,
    example,
    expired,
    first_start,
    judged,
    keyless,
    learned_of,
    linked,
    masked,
    old,
    old_session,
    reviewed,
    signed_in,
    stepped,
    unprotected,
    without_administrator,
)
from tests.services.once import made_once

# Actions that write to a protected table and need no entry, with the reason.
WITHOUT_ENTRY = {
    "accounts.make_setup_link": "made at each start until somebody joins with it, which is recorded; nobody acts yet",
    "adaptations.store": "runs learn it from a provider; nobody decides anything",
    "second_step.check_code": "a code counts once; the sign-in is recorded",
    "second_step.renew_secrets": "a part of the change of the secret key, which records the entry",
    "tokens.record_uses": "a request with a token changes nothing of it",
    "servers.prune": "servers that left long ago are deleted by their age; nobody decides anything",
    "servers.write": "servers report what they run, many times a minute; nobody decides anything",
    "deliveries.settle": "a receiver answers, or does not; nobody decides anything",
    "destinations.renew_secrets": "one part of accepting a secret key, which records the entry",
    "site.secret_key_fits": "a new database stores which key it was made with; no setting changes",
}


@pytest.fixture(autouse=True)
def _no_evaluation(tmp_path, monkeypatch) -> None:
    """Skip the evaluation of trained models on the large sets of texts, which takes seconds."""
    monkeypatch.setattr(safety_training, "SETS", tmp_path / "none")


@pytest.fixture(autouse=True)
def _trained_once(monkeypatch) -> None:
    """Train the same model once for a test run: it takes seconds, and what is recorded around it matters here."""
    train = safety_training._train

    def once(rows: Any, live: Any, folder: Any, target: float, on_step: Any) -> Any:
        given = repr((rows, live.manifest, live.sha256, target))

        def make(path: Path) -> None:
            path.write_bytes(pickle.dumps(train(rows, live, folder, target, on_step)))

        path, _ = made_once(f"training-{hashlib.sha256(given.encode()).hexdigest()}", make)
        return pickle.loads(path.read_bytes())

    monkeypatch.setattr(safety_training, "_train", once)


@pytest.fixture(autouse=True)
def _single_sign_on(settings) -> None:
    settings.OIDC_ISSUER = SIGNED_ON.issuer
    settings.OIDC_GROUPS = {role: ["ops"] if role == "releaser" else [] for role in Role}


@pytest.fixture
def world(actor, editor, publish, tmp_path) -> World:
    first = publish("enhance", "First.")
    newest = publish("enhance", "Second.")
    other = publish("other", "Another.", operation="enhance").template
    off = make_provider("off", "groq", by=actor, key="k", enabled=False)
    on = make_provider("on", "groq", by=actor, key_env="GROQ_API_KEY")
    template = Template.objects.get(name="enhance")
    return World(actor, editor, template, first, newest, other, on, off, tmp_path)


# How to call each action. `act(function, *args)` runs it under watch; its arguments are prepared before.
Act = Callable[..., Any]


def an_hour_on() -> datetime:
    return timezone.now() + timedelta(hours=1)


def frozen(world: World) -> Lever:
    return levers.pull(LeverKind.FREEZE, by=world.actor, note="Why", expires_at=an_hour_on())


def stored(revision: int, part: str) -> Any:
    """Return the values of a part that a release stored."""
    configuration = Release.objects.get(pk=revision).configuration
    assert configuration
    return configuration[part]


def clashing_variable() -> None:
    """Store a variable as an older version did, with a name that is an input's now."""
    Variable.objects.create(operation="enhance", name="input", value="old", changed_revision=1)


def token_of(world: World) -> Token:
    return tokens.make_token("fleet", ["read"], by=world.actor)[0]


CALLS: dict[str, list[Callable[[World, Act], Any]]] = {
    "api.change_once": [lambda w, act: act(api.change_once, token_of(w).pk, "key", {"a": 1}, lambda: {"b": 2})],
    "api.delete_old_answers": [lambda w, act: act(api.delete_old_answers)],
    "tokens.make_token": [lambda w, act: act(tokens.make_token, "fleet", ["read"], by=w.actor)],
    "tokens.rotate_token": [lambda w, act: act(tokens.rotate_token, token_of(w), by=w.actor)],
    "tokens.revoke_token": [lambda w, act: act(tokens.revoke_token, token_of(w), by=w.actor)],
    "tokens.record_uses": [
        lambda w, act: (used_tokens.give_back_uses({token_of(w).pk: timezone.now()}), act(tokens.record_uses))
    ],
    "accounts.find_link": [lambda w, act: act(accounts.find_link, w.link(LinkPurpose.JOIN)[1], LinkPurpose.JOIN)],
    "accounts.make_setup_link": [lambda w, act: (without_administrator(w), act(accounts.make_setup_link))],
    "accounts.invite": [lambda w, act: act(accounts.invite, "viewer", by=w.actor)],
    "accounts.withdraw_invitation": [
        lambda w, act: act(accounts.withdraw_invitation, w.link(LinkPurpose.JOIN)[0], by=w.actor)
    ],
    "accounts.make_password_link": [lambda w, act: act(accounts.make_password_link, w.user, by=w.actor)],
    "accounts.join": [lambda w, act: act(accounts.join, w.link(LinkPurpose.JOIN)[0], **JOINER)],
    "accounts.set_password_by_link": [
        lambda w, act: act(accounts.set_password_by_link, w.link(LinkPurpose.PASSWORD, user=w.user)[0], PASSWORD)
    ],
    "accounts.change_password": [lambda w, act: act(accounts.change_password, w.user, PASSWORD)],
    "accounts.change_role": [lambda w, act: act(accounts.change_role, w.user, "viewer", by=w.actor)],
    "accounts.deactivate": [lambda w, act: act(accounts.deactivate, w.user, by=w.actor)],
    "accounts.reactivate": [
        lambda w, act: act(accounts.reactivate, accounts.deactivate(w.user, by=w.actor), by=w.actor)
    ],
    "accounts.record_sign_in": [lambda w, act: act(accounts.record_sign_in, w.user, address="192.0.2.1")],
    "accounts.record_sign_out": [lambda w, act: act(accounts.record_sign_out, w.user, address="192.0.2.1")],
    "accounts.record_failed_sign_in": [
        lambda w, act: act(accounts.record_failed_sign_in, "eddie", address="192.0.2.1")
    ],
    "accounts.record_lockout": [lambda w, act: act(accounts.record_lockout, "eddie", address="192.0.2.1")],
    "accounts.remember_session": [
        lambda w, act: act(accounts.remember_session, w.user, signed_in(w).session_id, address="", browser="")
    ],
    "accounts.session_seen": [lambda w, act: act(accounts.session_seen, old_session(w).session_id, address="")],
    "accounts.end_session": [lambda w, act: act(accounts.end_session, signed_in(w), by=w.actor)],
    "accounts.end_sessions": [lambda w, act: (signed_in(w), act(accounts.end_sessions, w.user, by=w.actor))],
    "accounts.too_many_failures": [lambda w, act: act(accounts.too_many_failures, "eddie", "192.0.2.1")],
    "first_administrator.make_administrator": [
        lambda w, act: (
            without_administrator(w),
            act(first_administrator.make_administrator, "root", PASSWORD, by=w.actor),
        )
    ],
    "sign_on.role_of": [lambda w, act: act(sign_on.role_of, frozenset({"ops"}))],
    "sign_on.person_of": [
        lambda w, act: act(sign_on.person_of, replace(SIGNED_ON, subject="2")),
        lambda w, act: (linked(w), act(sign_on.person_of, SIGNED_ON, address="192.0.2.1")),
    ],
    "sign_on.record_refusal": [lambda w, act: act(sign_on.record_refusal, "deactivated", address="", user=w.user)],
    "sign_on.record_sign_on": [
        lambda w, act: act(sign_on.record_sign_on, w.user, address="", session_key=signed_in(w).session_id, browser="")
    ],
    "sign_on.link_identity": [lambda w, act: act(sign_on.link_identity, w.user, "1", by=w.actor)],
    "sign_on.unlink_identity": [lambda w, act: (linked(w), act(sign_on.unlink_identity, w.user, by=w.actor))],
    "second_step.turn_on": [
        lambda w, act: act(second_step.turn_on, w.user, SECRET, pyotp.TOTP(SECRET).now(), address="192.0.2.1")
    ],
    "second_step.check_code": [
        lambda w, act: (stepped(w), act(second_step.check_code, w.user, pyotp.TOTP(SECRET).at(time.time() + 30)))
    ],
    "second_step.record_wrong_code": [lambda w, act: act(second_step.record_wrong_code, w.user, "192.0.2.1")],
    "second_step.use_recovery_code": [
        lambda w, act: act(second_step.use_recovery_code, w.user, stepped(w)[0], address="192.0.2.1")
    ],
    "second_step.make_recovery_codes": [
        lambda w, act: (stepped(w), act(second_step.make_recovery_codes, w.user, by=w.actor))
    ],
    "second_step.turn_off": [lambda w, act: (stepped(w), act(second_step.turn_off, w.user, by=w.actor))],
    "second_step.renew_secrets": [lambda w, act: (stepped(w), act(second_step.renew_secrets))],
    "backups.record_backup": [lambda w, act: act(backups.record_backup, "7:ab")],
    "backups.record_restore": [lambda w, act: act(backups.record_restore, "2026-01-02T03:04:05+00:00", "7:ab")],
    "exports.record_export": [
        lambda w, act: act(
            exports.record_export, "audit.exported", by=w.actor, object_name="the audit", after={"format": "csv"}
        )
    ],
    "exports.record_counted_exports": [lambda w, act: (counted(w), act(exports.record_counted_exports))],
    "trail.record_refusal": [
        lambda w, act: act(trail.record_refusal, "people", by=w.actor, method="GET", permission="administer")
    ],
    "trail.protect": [lambda w, act: (unprotected(w), act(trail.protect, by=w.actor))],
    "presence.arrive": [lambda w, act: act(presence.arrive, w.template, user=w.user, channel="c")],
    "presence.leave": [lambda w, act: act(presence.leave, "c")],
    "presence.still_here": [lambda w, act: act(presence.still_here)],
    "prompt_sets.check": [lambda w, act: act(prompt_sets.check, [Line(1, "a fox")])],
    "prompt_sets.create_set": [lambda w, act: act(prompt_sets.create_set, "Foxes", ["a fox"], by=w.actor)],
    "prompt_sets.change_set": [lambda w, act: act(prompt_sets.change_set, w.set(), by=w.actor, **NEW_SET)],
    "prompt_sets.archive": [lambda w, act: act(prompt_sets.archive, w.set(), by=w.actor)],
    "prompt_sets.restore": [
        lambda w, act: (prompt_sets.archive(set := w.set(), by=w.actor), act(prompt_sets.restore, set, by=w.actor))
    ],
    "prompt_sets.record_download": [lambda w, act: act(prompt_sets.record_download, w.set(), "txt", by=w.actor)],
    "prompt_sets.import_starter_set": [
        lambda w, act: act(prompt_sets.import_starter_set, settings_of_django.PROMPTS_DIR, by=w.actor)
    ],
    "prompts.import_prompts": [lambda w, act: act(prompts.import_prompts, first_start(w), by=w.actor)],
    "importing.import_drafts": [
        lambda w, act: act(importing.import_drafts, [Text("segment", "enhance", "Text")], by=w.actor, user=w.actor.user)
    ],
    "importing.new_operation": [lambda w, act: act(importing.new_operation, "caption", {"kind": "text"})],
    "importing.import_versions": [
        lambda w, act: act(importing.import_versions, [Text("segment", "enhance", "Text")], by=w.actor)
    ],
    "sets.export_files": [lambda w, act: act(sets.export_files, by=w.actor)],
    "sets.write_set": [lambda w, act: act(sets.write_set, w.folder, by=w.actor)],
    "sets.read_folder": [lambda w, act: (sets.write_set(w.folder, by=w.actor), act(sets.read_folder, w.folder))],
    "sets.read_zip": [lambda w, act: act(sets.read_zip, archive(w))],
    "sets.plan_import": [lambda w, act: act(sets.plan_import, changed_set(w))],
    "sets.import_set": [lambda w, act: act(sets.import_set, changed_set(w), by=w.actor)],
    "comparisons.start": [
        lambda w, act: act(
            comparisons.start,
            "Old or new",
            PromptOperation.ENHANCE,
            ["a fox", "a hen"],
            w.arms(),
            by=w.actor,
            snapshot=live.load(),
            inputs_from="Foxes",
        )
    ],
    "comparisons.pause": [lambda w, act: act(comparisons.pause, w.compared(), by=w.actor)],
    "comparisons.resume": [lambda w, act: act(comparisons.resume, w.compared("paused"), by=w.actor)],
    "comparisons.cancel": [lambda w, act: act(comparisons.cancel, w.compared(), by=w.actor)],
    "comparisons.record_download": [
        lambda w, act: act(comparisons.record_download, w.compared(), "trials", "csv", by=w.actor)
    ],
    "comparisons.finish_if_done": [lambda w, act: act(comparisons.finish_if_done, w.compared().pk)],
    "prompts.export_prompts": [lambda w, act: act(prompts.export_prompts, w.folder, by=w.actor)],
    "adaptations.clean": [lambda w, act: act(adaptations.clean, "Unknown\nparameter")],
    "adaptations.listen": [lambda w, act: act(adaptations.listen)],
    "adaptations.store": [lambda w, act: act(adaptations.store, *learned_of(w.provider))],
    "adaptations.forget": [
        lambda w, act: (
            adaptations.store(*learned_of(w.provider)),
            act(adaptations.forget, w.provider, "no_temperature", by=w.actor),
        )
    ],
    "chain.ask_again": [lambda w, act: act(chain.ask_again, w.provider, by=w.actor)],
    "chain.planned": [lambda w, act: act(chain.planned, NEW)],
    "chain.edited": [lambda w, act: act(chain.edited, w.provider, FIELDS)],
    "chain.with_key": [lambda w, act: act(chain.with_key, w.provider, key="k")],
    "chain.create_provider": [lambda w, act: act(chain.create_provider, NEW, by=w.actor)],
    "chain.edit_provider": [
        lambda w, act: act(chain.edit_provider, w.provider, FIELDS, by=w.actor, expected=w.provider.changed_revision)
    ],
    "chain.change_key": [
        lambda w, act: act(chain.change_key, w.provider, key="k", by=w.actor, expected=w.provider.changed_revision)
    ],
    "chain.set_enabled": [
        lambda w, act: act(chain.set_enabled, w.provider, False, by=w.actor),
        lambda w, act: act(chain.set_enabled, w.off, True, by=w.actor),
    ],
    "chain.remove_provider": [
        lambda w, act: act(chain.remove_provider, w.off, by=w.actor, expected=w.off.changed_revision)
    ],
    "chain.reorder": [lambda w, act: act(chain.reorder, w.order()[::-1], by=w.actor, expected=w.order())],
    "releases.publish": [
        lambda w, act: act(releases.publish, w.template, Content("Third."), by=w.actor, expected=w.live.pk)
    ],
    "releases.roll_back": [lambda w, act: act(releases.roll_back, w.first, by=w.actor, expected=w.live.pk)],
    "merges.take": [lambda w, act: act(merges.take, w.template, {"1": "mine"}, **w.outdated())],
    "merges.undo": [
        lambda w, act: (
            merges.take(w.template, {"1": "mine"}, **w.outdated()),
            act(merges.undo, w.template, user=w.user),
        )
    ],
    "execution.execute": [lambda w, act: act(execution.execute, w.plan())],
    "records.record_run": [
        lambda w, act: act(records.record_run, w.plan(), plans.Outcome()),
        lambda w, act: act(records.record_run, replace(w.plan(), drill=plans.Drill("on", "503")), plans.Outcome()),
    ],
    "records.record_runs": [
        lambda w, act: act(
            records.record_runs,
            [(w.plan(), plans.Outcome()), (replace(w.plan(), drill=plans.Drill("on", "503")), plans.Outcome())],
        )
    ],
    "erasing.erase": [lambda w, act: act(erasing.erase, w.run(), by=w.actor)],
    "erasing.erase_expired": [lambda w, act: (old(w.run()), act(erasing.erase_expired))],
    "deleting.delete_expired": [lambda w, act: (expired(w.run()), act(deleting.delete_expired))],
    "filter_settings.change_safety": [
        lambda w, act: act(
            filter_settings.change_safety,
            filter_settings.SafetyChange(mode="enforce", terms=(filter_settings.Term("deny", "acme", "other"),)),
            by=w.actor,
            expected=0,
        )
    ],
    "filter_settings.roll_back": [lambda w, act: act(filter_settings.roll_back, 0, by=w.actor, expected=turned_off(w))],
    "filter_settings.use_model": [
        lambda w, act: act(filter_settings.use_model, another_model(), by=w.actor, expected=0)
    ],
    "masking.reveal": [lambda w, act: act(masking.reveal, masked(w.run()), by=w.actor)],
    "filter_settings.clean_languages": [lambda w, act: act(filter_settings.clean_languages, ["Spanish"])],
    "filter_settings.clean_thresholds": [lambda w, act: act(filter_settings.clean_thresholds, {"hate": 0.5})],
    "filter_settings.clean_terms": [
        lambda w, act: act(filter_settings.clean_terms, (filter_settings.Term("allow", "shoot"),))
    ],
    "reviews.report": [lambda w, act: act(safety_reviews.report, judged(w.run()).run, "input", by=w.actor)],
    "reviews.review": [lambda w, act: act(safety_reviews.review, judged(w.run()), "wrong", by=w.actor)],
    "reviews.undo": [lambda w, act: act(safety_reviews.undo, reviewed(w), by=w.actor)],
    "second_looks.look_again": [lambda w, act: act(second_looks.look_again, reviewed(w), "right", by=SECOND)],
    "second_looks.settle": [lambda w, act: act(second_looks.settle, disputed(w), "right", by=w.actor)],
    "second_looks.undo": [lambda w, act: act(second_looks.undo, disputed(w), by=SECOND)],
    "training.start": [lambda w, act: act(safety_training.start, by=w.actor)],
    "training.cancel": [lambda w, act: act(safety_training.cancel, safety_training.start(by=w.actor), by=w.actor)],
    "training.run": [
        lambda w, act: (example(), act(safety_training.run, safety_training.start(by=w.actor).pk, by=w.actor))
    ],
    "training.train": [lambda w, act: (example(), act(safety_training.train, by=w.actor))],
    "samples.pin": [lambda w, act: act(samples.pin, "enhance", "a fox", by=w.actor)],
    "samples.unpin": [
        lambda w, act: act(samples.unpin, "enhance", samples.pin("enhance", "a fox", by=w.actor).pk, by=w.actor)
    ],
    "site.change_settings": [
        lambda w, act: act(settings.change_settings, CHANGED, by=w.actor, expected=w.config.settings_revision)
    ],
    "site.secret_key_fits": [lambda w, act: (keyless(w), act(settings.secret_key_fits))],
    "site.replace_secret_key": [lambda w, act: act(settings.replace_secret_key, by=w.actor)],
    "templates.create_template": [lambda w, act: act(templates.create_template, "noir", "enhance", by=w.actor)],
    "templates.describe": [lambda w, act: act(templates.describe, w.template, "For night scenes.", by=w.actor)],
    "templates.make_default": [lambda w, act: act(templates.make_default, w.other, by=w.actor)],
    "templates.archive": [lambda w, act: act(templates.archive, w.other, by=w.actor)],
    "templates.restore": [lambda w, act: act(templates.restore, templates.archive(w.other, by=w.actor), by=w.actor)],
    "handover.share": [lambda w, act: (w.draft(), act(handover.share, w.template, by=w.editing))],
    "handover.revoke_share": [
        lambda w, act: (
            w.draft(),
            act(handover.revoke_share, handover.share(w.template, by=w.editing), by=w.editing),
        ),
    ],
    "handover.ask": [
        lambda w, act: (w.draft(), act(handover.ask, w.template, by=w.editing)),
        lambda w, act: (
            w.draft(),
            handover.ask(w.template, by=w.editing, note="Warm"),
            act(handover.ask, w.template, by=w.editing, note="Warmer"),
        ),
    ],
    "handover.withdraw": [lambda w, act: act(handover.withdraw, w.request(), by=w.editing)],
    "handover.send_back": [lambda w, act: act(handover.send_back, w.request(), "Shorter", by=w.actor, edition=1)],
    "handover.publish_request": [
        lambda w, act: act(handover.publish_request, w.request(), by=w.actor, edition=1, expected=w.live.pk)
    ],
    "drafts.save_draft": [
        lambda w, act: act(drafts.save_draft, w.template, Content("Draft."), user=w.user, base=w.live.pk)
    ],
    "drafts.set_aside": [
        lambda w, act: act(drafts.set_aside, w.template, Content("Draft."), user=w.user, base=w.live.pk)
    ],
    "drafts.restore_draft": [
        lambda w, act: (
            kept := drafts.set_aside(w.template, Content("Draft."), user=w.user, base=w.live.pk),
            act(drafts.restore_draft, w.template, kept.pk, user=w.user),
        )
    ],
    "drafts.discard_draft": [lambda w, act: act(drafts.discard_draft, w.template, user=w.user)],
    "operations.add": [lambda w, act: act(operations.add, "caption", OperationFields("Names a clip."), by=w.actor)],
    "operations.change": [
        lambda w, act: act(
            operations.change, w.operation(), OperationFields("Names it.", hedge="p95"), by=w.actor, expected=w.revision
        )
    ],
    "operations.archive": [lambda w, act: act(operations.archive, w.operation(), by=w.actor)],
    "operations.restore": [
        lambda w, act: act(operations.restore, operations.archive(w.operation(), by=w.actor), by=w.actor)
    ],
    "renaming.rename_reserved": [lambda w, act: (clashing_variable(), act(renaming.rename_reserved, by=w.actor))],
    "variables.declare": [lambda w, act: act(variables.declare, "enhance", "season", "winter", by=w.actor)],
    "variables.change": [
        lambda w, act: (
            variable := w.variable(),
            act(variables.change, variable, "tense", by=w.actor, expected=variable.changed_revision),
        )
    ],
    "variables.remove": [
        lambda w, act: (
            variable := w.variable(),
            act(variables.remove, variable, by=w.actor, expected=variable.changed_revision),
        )
    ],
    "variables.clean_value": [lambda w, act: act(variables.clean_value, "winter")],
    "servers.forget": [lambda w, act: act(fleet.forget, save_server(silent_for=60), by=w.actor)],
    "servers.prune": [lambda w, act: (save_server(silent_for=100 * 86400), act(fleet.prune))],
    "servers.write": [lambda w, act: act(fleet.write, Batch([unsaved_server()], {("gpu-7", "1")}))],
    "levers.pull": [lambda w, act: act(levers.pull, "freeze", by=w.actor, note="Why", expires_at=an_hour_on())],
    "levers.end": [lambda w, act: act(levers.end, frozen(w), by=w.actor)],
    "levers.end_expired": [
        lambda w, act: (
            frozen(w),
            Lever.objects.update(expires_at=timezone.now()),
            act(levers.end_expired),
        )
    ],
    "last_good.preview": [lambda w, act: act(last_good.preview, w.revision - 1)],
    "last_good.restore_all": [
        lambda w, act: act(last_good.restore_all, w.revision - 1, by=w.actor, note="Why", expected=w.revision)
    ],
    "restoring.plan_chain": [lambda w, act: act(restoring_chain.plan_chain, [])],
    "restoring.plan_operations": [
        lambda w, act: (w.operation(), act(restoring.plan_operations, stored(w.revision - 1, "operations")))
    ],
    "restoring.plan_templates": [lambda w, act: act(restoring.plan_templates, [])],
    "restoring.plan_variables": [lambda w, act: (w.variable(), act(restoring.plan_variables, []))],
    "filter_settings.plan_filter": [
        lambda w, act: act(filter_settings.plan_filter, stored(1, "safety") | {"mode": "off"})
    ],
    "site.plan_settings": [lambda w, act: act(settings.plan_settings, stored(1, "settings") | {"timeout_ms": 1234})],
    "reports.count_reports": [lambda w, act: act(reports.count_reports, uuid4(), "gpu-7", [], 3)],
    "reports.forget_old": [lambda w, act: act(reports.forget_old, timezone.now() + timedelta(days=500))],
    "destinations.add": [lambda w, act: act(destinations.add, WEBHOOK, by=w.actor)],
    "destinations.change": [
        lambda w, act: act(destinations.change, destination(w), replace(WEBHOOK, name="Night"), by=w.actor, expected=1)
    ],
    "destinations.set_enabled": [
        lambda w, act: act(destinations.set_enabled, destination(w), False, by=w.actor),
        lambda w, act: act(
            destinations.set_enabled, destinations.set_enabled(destination(w), False, by=w.actor), True, by=w.actor
        ),
    ],
    "destinations.give_up": [lambda w, act: act(destinations.give_up, destination(w), "The receiver answered 410.")],
    "destinations.rotate_secret": [lambda w, act: act(destinations.rotate_secret, destination(w), by=w.actor)],
    "destinations.remove": [lambda w, act: act(destinations.remove, destination(w), by=w.actor)],
    "destinations.change_rules": [
        lambda w, act: act(destinations.change_rules, destinations.Rules(50, 5, 10), by=w.actor, expected=0)
    ],
    "destinations.renew_secrets": [lambda w, act: (destination(w), act(destinations.renew_secrets))],
    "destinations.private_hosts": [lambda w, act: act(destinations.private_hosts)],
    "destinations.clean_address": [lambda w, act: act(destinations.clean_address, WEBHOOK.address)],
    "destinations.clean_recipients": [lambda w, act: act(destinations.clean_recipients, ["ada@example.org"])],
    "deliveries.queue": [
        lambda w, act: act(alert_deliveries.queue, Message("1", "test", "A test", timezone.now()), [destination(w)])
    ],
    "deliveries.claim": [lambda w, act: (destination(w), act(alert_deliveries.claim, timezone.now(), 1))],
    "deliveries.settle": [
        lambda w, act: act(alert_deliveries.settle, failing(w), Answer(False, "500"), now=timezone.now())
    ],
    "deliveries.send_test": [lambda w, act: act(alert_deliveries.send_test, destination(w), by=w.actor)],
    "deliveries.send_again": [
        lambda w, act: (alert_deliveries.cancel(one := claimed(w)), act(alert_deliveries.send_again, one))
    ],
    "deliveries.cancel": [lambda w, act: act(alert_deliveries.cancel, claimed(w))],
    "deliveries.prune": [lambda w, act: act(alert_deliveries.prune)],
    "looking.look": [lambda w, act: (destination(w), act(looking.look))],
    "votes.cast": [lambda w, act: act(votes.cast, **w.ballot(), by=w.actor)],
    "votes.undo": [
        lambda w, act: (
            votes.cast(**(ballot := w.ballot()), by=w.actor),
            act(votes.undo, ballot["comparison"], by=w.actor),
        )
    ],
}


def failing(world: World) -> tables.Delivery:
    """Return a message whose first attempt is in progress."""
    alert_deliveries.queue(Message("1", "test", "A test", timezone.now()), [destination(world)])
    return alert_deliveries.claim(timezone.now(), 1)[0]


def action_modules() -> Iterator[Any]:
    for name in registering_modules():
        parts = name.split(".")
        if ("actions" in parts and parts[-1] != "actions" and not parts[-1].startswith("_")) or parts[-1:] == [
            "actions"
        ]:
            yield importlib.import_module(name)


def group(module: Any) -> str:
    """Return the name of the module, or of the feature whose only module of actions it is."""
    parts = module.__name__.split(".")
    return parts[-2] if parts[-1] == "actions" else parts[-1]


def public_functions() -> dict[str, Callable[..., Any]]:
    """Return every public function that a module of actions defines, as "module.function"."""
    return {
        f"{group(module)}.{name}": function
        for module in action_modules()
        for name, function in vars(module).items()
        if callable(function)
        and not inspect.isclass(function)
        and not name.startswith("_")
        and function.__module__ == module.__name__
    }


def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    if not inspect.isasyncgenfunction(function):
        function(*args, **kwargs)
        return

    async def exhaust() -> None:
        async for _ in function(*args, **kwargs):
            pass

    async_to_sync(exhaust)()


def test_every_action_is_called_here():
    assert set(CALLS) == set(public_functions())
    assert IN_THREADS in CALLS


# Actions that write to no protected table. All others must write to one.
CHANGES_NOTHING_PROTECTED = {
    "api.change_once",  # what it changes is recorded by its own action
    "api.delete_old_answers",
    "last_good.preview",
    "restoring.plan_chain",
    "restoring.plan_operations",
    "restoring.plan_templates",
    "restoring.plan_variables",
    "filter_settings.plan_filter",
    "site.plan_settings",
    "accounts.find_link",
    "accounts.record_failed_sign_in",
    "accounts.record_lockout",
    "accounts.record_sign_in",
    "accounts.record_sign_out",
    "accounts.remember_session",
    "accounts.session_seen",
    "accounts.end_session",
    "accounts.end_sessions",
    "accounts.too_many_failures",
    "sign_on.role_of",
    "sign_on.record_refusal",
    "second_step.record_wrong_code",
    "sign_on.record_sign_on",
    "merges.take",
    "merges.undo",
    "trail.protect",
    "trail.record_refusal",
    "comparisons.record_download",
    "backups.record_backup",  # the copy is a file
    "exports.record_counted_exports",
    "exports.record_export",
    "presence.arrive",
    "presence.leave",
    "presence.still_here",
    "prompt_sets.check",
    "prompt_sets.record_download",
    "prompts.export_prompts",
    "importing.new_operation",
    "sets.export_files",
    "sets.plan_import",
    "sets.read_folder",
    "sets.read_zip",
    "sets.write_set",
    "adaptations.clean",
    "adaptations.listen",
    "chain.ask_again",  # cooldowns exist only in memory
    "chain.edited",
    "chain.planned",
    "chain.with_key",
    "deleting.delete_expired",
    "erasing.erase_expired",
    "execution.execute",
    "records.record_run",
    "records.record_runs",
    "reports.count_reports",  # the counts are the record
    "reports.forget_old",
    "destinations.clean_address",
    "destinations.clean_recipients",
    "destinations.private_hosts",
    "deliveries.cancel",  # a message is no configuration; the log shows it
    "deliveries.claim",
    "deliveries.prune",
    "deliveries.queue",
    "deliveries.send_again",
    "deliveries.send_test",  # the entry says who sent it
    "looking.look",  # conditions are the record
    "filter_settings.clean_languages",
    "filter_settings.clean_terms",
    "filter_settings.clean_thresholds",
    "masking.reveal",
    "training.cancel",
    "training.start",
    "drafts.discard_draft",
    "drafts.restore_draft",
    "drafts.set_aside",
    "drafts.save_draft",
    "variables.clean_value",
    # A vote is its own record: everybody reads the audit, and an entry would influence other votes (decision 16).
    "votes.cast",
    "votes.undo",
}


def turned_off(world: World) -> int:
    """Turn the filter off, so that there is something to roll back. Return the revision."""
    return filter_settings.change_safety(
        filter_settings.SafetyChange(mode="off"), by=world.actor, expected=0
    ).changed_revision


def watched_calls(name: str, world: World) -> list[Watch]:
    """Make the calls of one action, each under its own watch."""
    watches = []

    def act(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        assert function is public_functions()[name]
        with watched() as watch:
            run(function, *args, **kwargs)
        watches.append(watch)

    for call in CALLS[name]:
        call(world, act)
    assert len(watches) == len(CALLS[name])
    return watches


# This action records in a thread of its own, which would wait for the transaction of a test until that test has ended.
IN_THREADS = "execution.execute"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.django_db(transaction=name == IN_THREADS)) for name in CALLS]
)
def test_no_change_without_an_entry(name, world):
    for watch in watched_calls(name, world):
        if name in WITHOUT_ENTRY:
            assert watch.unrecorded, f"{name} records an entry; remove it from WITHOUT_ENTRY"
        else:
            assert not watch.unrecorded
        # A call that was refused or changed nothing would prove nothing.
        assert bool(watch.wrote & PROTECTED) is (name not in CHANGES_NOTHING_PROTECTED)
    assert audit_chain.first_bad_entry() is None


@pytest.mark.django_db
def test_some_action_records_every_registered_sentence_with_all_its_values(world):
    texts: dict[str, str] = {}
    objects: dict[str, str] = {}
    for call in (call for name, calls in CALLS.items() if name != IN_THREADS for call in calls):
        point = transaction.savepoint()
        call(deepcopy(world), run)
        texts |= {entry.action: sentences.sentence(entry) for entry in AuditEntry.objects.all()}
        objects |= {entry.action: entry.object_type for entry in AuditEntry.objects.all()}
        transaction.savepoint_rollback(point)
    assert set(texts) == set(registry.names())
    assert objects == {action.name: action.object for action in registry.actions()}
    assert [sentence for sentence in texts.values() if "–" in sentence] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "write",
    [
        lambda w: Template.objects.update(description="x"),
        lambda w: transaction.atomic(Template.objects.update)(description="x"),
        lambda w: transaction.atomic(Provider.objects.filter(pk=w.off.pk).delete)(),
        lambda w: w.user.save(),
        lambda w: transaction.atomic(OneTimeLink.objects.bulk_create)(
            [w.link(LinkPurpose.JOIN)[0]], ignore_conflicts=True
        ),
        lambda w: connection.cursor().execute("update promptops_user set role = 'viewer'"),
        lambda w: (Template.objects.update(description="x"), accounts.record_sign_in(w.user, address="")),
    ],
    ids=["update", "in a transaction", "delete", "save", "bulk", "raw", "entry in another transaction"],
)
def test_the_watch_sees_writes_without_an_entry(write, world):
    with watched() as watch:
        write(world)
    assert watch.unrecorded


def test_protected_tables_are_tables():
    assert {
        model._meta.db_table for model in vars(tables).values() if isinstance(model, models.base.ModelBase)
    } >= PROTECTED
