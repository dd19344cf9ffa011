"""No action changes what the audit tells of without leaving an entry, in the same transaction.

Every public function of a feature's actions is called, with the statements that it sends to the database watched; one
that is missing in CALLS fails. A second part reads the source: nothing else writes to the database at all.
"""

import ast
import importlib
import inspect
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as settings_of_django
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, models, transaction
from django.utils import timezone

import promptops
from promptops import models as tables
from promptops.apps import registering_modules
from promptops.compare import ballots
from promptops.compare.actions import comparisons, prompt_sets, votes
from promptops.compare.models import PromptSet
from promptops.engine.types import PromptOperation
from promptops.ledger import audit, registry
from promptops.ledger.actions import exports, trail
from promptops.ledger.models import AuditEntry, LiveConfiguration
from promptops.live import snapshots as live
from promptops.people import actions as accounts
from promptops.people.enums import LinkPurpose
from promptops.people.models import OneTimeLink, User
from promptops.prompts.actions import merges, presence, prompts, releases, samples, sets, templates, variables
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Template, Variable, Version
from promptops.providers.actions import adaptations, providers
from promptops.providers.key_variables import address_of
from promptops.providers.models import Provider
from promptops.runs import plans
from promptops.runs.actions import erasing, execution, masking, records
from promptops.runs.enums import RunSource
from promptops.runs.models import Run
from promptops.safety.actions import reviews as safety_reviews
from promptops.safety.actions import safety
from promptops.safety.actions import training as safety_training
from promptops.site import actions as settings
from promptops.texts.inputs import Line
from tests.audit_tools import settle
from tests.comparing import answer, compare

PASSWORD = "correct horse battery"
PROTECTED = {
    model._meta.db_table
    for model in (
        Template,
        Version,
        tables.Release,
        LiveConfiguration,
        Provider,
        PromptSet,
        User,
        OneTimeLink,
        Variable,
        tables.Sample,
        tables.Comparison,
        tables.SafetySettings,
        tables.SafetyTerm,
        tables.SafetyModelVersion,
        tables.SafetyExample,
        tables.LearnedAdaptation,
    )
}
AUDIT = AuditEntry._meta.db_table

# What writes to a protected table and rightly leaves no entry, with the reason.
WITHOUT_ENTRY = {
    "people.make_setup_link": "made at each start until somebody joins by it, which is told; nobody acts yet",
    "adaptations.store": "runs learn it from a provider; nobody decides anything",
    "site.secret_key_fits": "a new database notes the key that it was made with; no setting changes",
}

WRITE = re.compile(r"""\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM|REPLACE\s+INTO)\s+["`]?(\w+)""", re.I)
SAVEPOINT = re.compile(r"""\s*(RELEASE\s+SAVEPOINT|ROLLBACK\s+TO\s+SAVEPOINT|SAVEPOINT)\s+["`]?(\w+)""", re.I)


@dataclass
class Watch:
    """The tables written to, by transaction. A test runs in one itself, so an action's is its outermost savepoint."""

    transactions: list[list[str]] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        if found := SAVEPOINT.match(sql):
            self._savepoint(found[1].upper(), found[2])
        elif found := WRITE.match(sql):
            (self.transactions[-1] if self._open else self.outside).append(found[1])
        return result

    def _savepoint(self, verb: str, name: str) -> None:
        if verb == "SAVEPOINT":
            if not self._open:
                self.transactions.append([])
            self._open.append(name)
        elif verb.startswith("RELEASE"):
            del self._open[self._open.index(name) :]

    @property
    def wrote(self) -> set[str]:
        return {table for tables in [*self.transactions, self.outside] for table in tables}

    @property
    def untold(self) -> set[str]:
        """The protected tables that were written to in a transaction without an entry, or in none."""
        silent = [table for tables in self.transactions if AUDIT not in tables for table in tables]
        return PROTECTED & {*silent, *self.outside}


@contextmanager
def watched() -> Iterator[Watch]:
    watch = Watch()
    with connection.execute_wrapper(watch):
        yield watch


@dataclass
class World:
    """Something of everything, for the actions to work on."""

    actor: audit.Actor
    user: User
    template: Template
    first: Version
    live: Version
    other: Template
    provider: Provider
    off: Provider
    folder: Path

    @property
    def config(self) -> LiveConfiguration:
        return LiveConfiguration.objects.get()

    def outdated(self) -> dict[str, Any]:
        """Makes a draft on what was live before; the arguments that take its merge."""
        draft = templates.save_draft(self.template, Content("Draft."), user=self.user, base=self.first.pk)
        assert draft
        return {"user": self.user, "expected": self.live.pk, "seen": draft.sha256}

    def link(self, purpose: LinkPurpose, **fields: Any) -> tuple[OneTimeLink, str]:
        return accounts._make_link(purpose, "editor", timedelta(hours=1), **fields)

    def variable(self) -> Variable:
        return variables.declare("enhance", "mood", "calm", by=self.actor)

    def order(self) -> list[int]:
        return list(Provider.objects.values_list("pk", flat=True))

    def set(self) -> PromptSet:
        return prompt_sets.create_set("Foxes", ["a fox"], by=self.actor)

    def plan(self) -> plans.RunPlan:
        return plans.RunPlan(
            operation=PromptOperation.ENHANCE,
            input="a fox",
            content=Content("Polish it."),
            providers=(),
            snapshot=live.load(),
            source=RunSource.PREVIEW,
            by=self.user,
        )

    def arms(self) -> list[comparisons.ArmChoice]:
        return [
            comparisons.ArmChoice(self.template, version, Content(**version.content), self.provider)
            for version in (self.first, self.live)
        ]

    def compared(self, state: str = "running") -> tables.Comparison:
        given = {"operation": "enhance", "repeats": 1, "revision": 1, "timeout_ms": 1000, "user_name": "Ada"}
        return tables.Comparison.objects.create(name="Old or new", inputs_from="Foxes", state=state, **given)

    def ballot(self) -> dict[str, Any]:
        """The arguments that vote on two answers."""
        comparison = compare(self.actor, inputs=1)
        answer(comparison)
        given, pair = comparison.inputs.get().pk, tuple(comparison.arms.values_list("pk", flat=True))
        marked = ballots.mark(self.actor.user.pk, given, 0, pair)
        return {"comparison": comparison, "input": given, "repeat": 0, "ballot": marked, "side": "left"}

    def run(self, **fields: Any) -> Run:
        given = {"source": "preview", "operation": "enhance", "temperature": 0.7, "max_tokens": 9, "revision": 1}
        return Run.objects.create(**given, latency_ms=1.0, status="succeeded", input="a fox", **fields)


@pytest.fixture(autouse=True)
def _no_evaluation(tmp_path, monkeypatch) -> None:
    """Models that are trained here are not evaluated on texts from elsewhere, which takes seconds."""
    monkeypatch.setattr(safety_training, "SETS", tmp_path / "none")


@pytest.fixture
def world(actor, editor, publish, tmp_path) -> World:
    first = publish("enhance", "First.")
    newest = publish("enhance", "Second.")
    other = publish("other", "Another.", operation="enhance").template
    off = providers.create_provider(providers.ProviderFields("off", "groq", "m"), by=actor, key="k", enabled=False)
    on = providers.create_provider(providers.ProviderFields("on", "groq", "m"), by=actor, key_env="GROQ_API_KEY")
    template = Template.objects.get(name="enhance")
    return World(actor, editor, template, first, newest, other, on, off, tmp_path)


def judged(run: Run) -> tables.SafetyCheck:
    given = {"side": "input", "decision": "allow", "layer": "model", "scores": {"hate": 0.6}, "mode": "shadow"}
    return tables.SafetyCheck.objects.create(run=run, **given)


def reviewed(world: World) -> tables.SafetyCheck:
    check = judged(world.run())
    safety_reviews.review(check, "wrong", by=world.actor)
    return check


def example() -> None:
    """One that is not held out, so that there is something to learn."""
    text = "a lantern drifts over the quiet plaza"
    tables.SafetyExample.objects.create(label="hard", text=text, user_name="Ada")


def without_administrator(world: World) -> None:
    User.objects.update(role="editor")


def first_start(world: World) -> Path:
    """No template is there yet, and a file waits to be imported."""
    Template.objects.update(live_version=None)
    for model in (tables.Release, Version, Template):
        model.objects.all().delete()
    (world.folder / "enhance.txt").write_text("Polish it.")
    return world.folder


def old(run: Run) -> Run:
    Run.objects.filter(pk=run.pk).update(at=timezone.now() - timedelta(days=999))
    return run


def keyless(world: World) -> None:
    """A database that has not noted its secret key yet."""
    LiveConfiguration.objects.update(key_check="")


def counted(world: World) -> None:
    """A person has exported twice, two minutes ago."""
    for _ in range(2):
        exports.record_export("audit.exported", by=world.actor, object_name="the audit", after={"format": "csv"})
    tables.ExportTally.objects.update(since=timezone.now() - timedelta(minutes=2))


def unprotected(world: World) -> None:
    """One of the audit's triggers is gone."""
    if connection.vendor == "sqlite":
        connection.cursor().execute("DROP TRIGGER audit_entry_update")
    else:
        settle()
        connection.cursor().execute("DROP TRIGGER audit_entry_update ON promptops_auditentry")


def archive(world: World) -> io.BytesIO:
    """The live set as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in sets.export_files(by=world.actor).items():
            file.writestr(name, text)
    return buffer


def changed_set(world: World) -> list[Any]:
    """The live set, with another text and another default."""
    entries = {entry.name: entry for entry in sets.read_zip(archive(world))}
    enhance = replace(entries["enhance"], content=Content("Third."), description="Shorter", default=False)
    return [enhance, replace(entries["other"], default=True)]


def signed_in(world: World) -> tables.UserSession:
    """A session of the user."""
    session = SessionStore()
    session.create()
    accounts.remember_session(world.user, session.session_key, address="192.0.2.1", browser="Firefox on Linux")
    return world.user.sessions.get(session=session.session_key)


def old_session(world: World) -> tables.UserSession:
    """One that was last used a while ago."""
    tables.UserSession.objects.filter(pk=signed_in(world).pk).update(seen_at=timezone.now() - timedelta(hours=1))
    return world.user.sessions.get()


def learned_of(provider: Provider) -> tuple[str, str, str, str]:
    """What a run may learn of the provider."""
    return address_of(provider), "m", "no_temperature", "Unsupported parameter: temperature"


NEW_SET = {"name": "Foxes", "description": "", "inputs": ["a fox", "two foxes"], "expected": 1}
NEW = providers.ProviderFields("new", "groq", "m")
FIELDS = providers.ProviderFields("on", "groq", "another-model")
JOINER = {"username": "new", "name": "New", "password": PASSWORD}
CHANGED = settings.Settings(timeout_ms=9000, temperature=0.1, max_tokens=99, run_retention_days=9)


def masked(run: Run) -> Run:
    run.input_masked = True
    run.save()
    return run


def another_model() -> tables.SafetyModelVersion:
    manifest = tables.SafetyModelVersion.objects.get(number=1).manifest
    return tables.SafetyModelVersion.objects.create(
        number=2, data=b"model", sha256="a" * 64, manifest=manifest, user_name="Ada"
    )


# How to call each action: `act(function, *args)` runs it under watch; what stands in its arguments happens before.
Act = Callable[..., Any]
CALLS: dict[str, list[Callable[[World, Act], Any]]] = {
    "people.find_link": [lambda w, act: act(accounts.find_link, w.link(LinkPurpose.JOIN)[1], LinkPurpose.JOIN)],
    "people.make_setup_link": [lambda w, act: (without_administrator(w), act(accounts.make_setup_link))],
    "people.invite": [lambda w, act: act(accounts.invite, "viewer", by=w.actor)],
    "people.withdraw_invitation": [
        lambda w, act: act(accounts.withdraw_invitation, w.link(LinkPurpose.JOIN)[0], by=w.actor)
    ],
    "people.make_password_link": [lambda w, act: act(accounts.make_password_link, w.user, by=w.actor)],
    "people.join": [lambda w, act: act(accounts.join, w.link(LinkPurpose.JOIN)[0], **JOINER)],
    "people.set_password_by_link": [
        lambda w, act: act(accounts.set_password_by_link, w.link(LinkPurpose.PASSWORD, user=w.user)[0], PASSWORD)
    ],
    "people.change_password": [lambda w, act: act(accounts.change_password, w.user, PASSWORD)],
    "people.change_role": [lambda w, act: act(accounts.change_role, w.user, "viewer", by=w.actor)],
    "people.deactivate": [lambda w, act: act(accounts.deactivate, w.user, by=w.actor)],
    "people.reactivate": [lambda w, act: act(accounts.reactivate, accounts.deactivate(w.user, by=w.actor), by=w.actor)],
    "people.record_sign_in": [lambda w, act: act(accounts.record_sign_in, w.user, address="192.0.2.1")],
    "people.record_sign_out": [lambda w, act: act(accounts.record_sign_out, w.user, address="192.0.2.1")],
    "people.record_failed_sign_in": [lambda w, act: act(accounts.record_failed_sign_in, "eddie", address="192.0.2.1")],
    "people.record_lockout": [lambda w, act: act(accounts.record_lockout, "eddie", address="192.0.2.1")],
    "people.remember_session": [
        lambda w, act: act(accounts.remember_session, w.user, signed_in(w).session_id, address="", browser="")
    ],
    "people.session_seen": [lambda w, act: act(accounts.session_seen, old_session(w).session_id, address="")],
    "people.end_session": [lambda w, act: act(accounts.end_session, signed_in(w), by=w.actor)],
    "people.end_sessions": [lambda w, act: (signed_in(w), act(accounts.end_sessions, w.user, by=w.actor))],
    "people.too_many_failures": [lambda w, act: act(accounts.too_many_failures, "eddie", "192.0.2.1")],
    "people.clean_name": [lambda w, act: act(accounts.clean_name, "Grace Hopper")],
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
    "providers.ask_again": [lambda w, act: act(providers.ask_again, w.provider, by=w.actor)],
    "providers.planned": [lambda w, act: act(providers.planned, NEW)],
    "providers.edited": [lambda w, act: act(providers.edited, w.provider, FIELDS)],
    "providers.with_key": [lambda w, act: act(providers.with_key, w.provider, key="k")],
    "providers.create_provider": [lambda w, act: act(providers.create_provider, NEW, by=w.actor)],
    "providers.edit_provider": [
        lambda w, act: act(
            providers.edit_provider, w.provider, FIELDS, by=w.actor, expected=w.provider.changed_revision
        )
    ],
    "providers.change_key": [
        lambda w, act: act(providers.change_key, w.provider, key="k", by=w.actor, expected=w.provider.changed_revision)
    ],
    "providers.set_enabled": [
        lambda w, act: act(providers.set_enabled, w.provider, False, by=w.actor),
        lambda w, act: act(providers.set_enabled, w.off, True, by=w.actor),
    ],
    "providers.remove_provider": [
        lambda w, act: act(providers.remove_provider, w.off, by=w.actor, expected=w.off.changed_revision)
    ],
    "providers.reorder": [lambda w, act: act(providers.reorder, w.order()[::-1], by=w.actor, expected=w.order())],
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
    "erasing.erase": [lambda w, act: act(erasing.erase, w.run(), by=w.actor)],
    "erasing.erase_expired": [lambda w, act: (old(w.run()), act(erasing.erase_expired))],
    "safety.change_safety": [
        lambda w, act: act(
            safety.change_safety,
            safety.SafetyChange(mode="enforce", terms=(safety.Term("deny", "acme", "other"),)),
            by=w.actor,
            expected=0,
        )
    ],
    "safety.roll_back": [lambda w, act: act(safety.roll_back, 0, by=w.actor, expected=turned_off(w))],
    "safety.use_model": [lambda w, act: act(safety.use_model, another_model(), by=w.actor, expected=0)],
    "masking.reveal": [lambda w, act: act(masking.reveal, masked(w.run()), by=w.actor)],
    "safety.clean_thresholds": [lambda w, act: act(safety.clean_thresholds, {"hate": 0.5})],
    "safety.clean_terms": [lambda w, act: act(safety.clean_terms, (safety.Term("allow", "shoot"),))],
    "reviews.report": [lambda w, act: act(safety_reviews.report, judged(w.run()).run, "input", by=w.actor)],
    "reviews.review": [lambda w, act: act(safety_reviews.review, judged(w.run()), "wrong", by=w.actor)],
    "reviews.take_back": [lambda w, act: act(safety_reviews.take_back, reviewed(w), by=w.actor)],
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
    "templates.save_draft": [
        lambda w, act: act(templates.save_draft, w.template, Content("Draft."), user=w.user, base=w.live.pk)
    ],
    "templates.set_aside": [
        lambda w, act: act(templates.set_aside, w.template, Content("Draft."), user=w.user, base=w.live.pk)
    ],
    "templates.restore_draft": [
        lambda w, act: (
            kept := templates.set_aside(w.template, Content("Draft."), user=w.user, base=w.live.pk),
            act(templates.restore_draft, w.template, kept.pk, user=w.user),
        )
    ],
    "templates.discard_draft": [lambda w, act: act(templates.discard_draft, w.template, user=w.user)],
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
    "votes.cast": [lambda w, act: act(votes.cast, **w.ballot(), by=w.actor)],
    "votes.take_back": [
        lambda w, act: (
            votes.cast(**(ballot := w.ballot()), by=w.actor),
            act(votes.take_back, ballot["comparison"], by=w.actor),
        )
    ],
}


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
    """Every public function that a module of actions defines, as "module.function"."""
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


# The actions that change nothing that the audit tells of; every other one must be seen to write to a protected table.
CHANGES_NOTHING_TOLD = {
    "people.clean_name",
    "people.find_link",
    "people.record_failed_sign_in",
    "people.record_lockout",
    "people.record_sign_in",
    "people.record_sign_out",
    "people.remember_session",
    "people.session_seen",
    "people.end_session",
    "people.end_sessions",
    "people.too_many_failures",
    "merges.take",
    "merges.undo",
    "trail.protect",
    "trail.record_refusal",
    "comparisons.record_download",
    "exports.record_counted_exports",
    "exports.record_export",
    "presence.arrive",
    "presence.leave",
    "presence.still_here",
    "prompt_sets.check",
    "prompt_sets.record_download",
    "prompts.export_prompts",
    "sets.export_files",
    "sets.plan_import",
    "sets.read_folder",
    "sets.read_zip",
    "sets.write_set",
    "adaptations.clean",
    "adaptations.listen",
    "providers.ask_again",  # a process forgets a cooldown; the database knows of none
    "providers.edited",
    "providers.planned",
    "providers.with_key",
    "erasing.erase_expired",
    "execution.execute",
    "records.record_run",
    "safety.clean_terms",
    "safety.clean_thresholds",
    "masking.reveal",
    "training.cancel",
    "training.start",
    "templates.discard_draft",
    "templates.restore_draft",
    "templates.set_aside",
    "templates.save_draft",
    "variables.clean_value",
    # A vote is its own record: everybody reads the audit, and it would color the votes of others (decision 16).
    "votes.cast",
    "votes.take_back",
}


def turned_off(world: World) -> int:
    """Turn the filter off, so that there is something to roll back; the revision of that."""
    return safety.change_safety(safety.SafetyChange(mode="off"), by=world.actor, expected=0).changed_revision


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


# It records through the pool of threads of Channels, which closes the connection, and with it a test's transaction.
IN_THREADS = "runs.execute"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.django_db(transaction=name == IN_THREADS)) for name in CALLS]
)
def test_no_change_without_an_entry(name, world):
    for watch in watched_calls(name, world):
        if name in WITHOUT_ENTRY:
            assert watch.untold, f"{name} leaves an entry by now; take it out of WITHOUT_ENTRY"
        else:
            assert not watch.untold
        # A call that was refused or did nothing would prove nothing.
        assert bool(watch.wrote & PROTECTED) is (name not in CHANGES_NOTHING_TOLD)
    assert audit.first_bad_entry() is None


@pytest.mark.django_db
def test_every_registered_sentence_is_told_by_some_action_with_all_its_parts(world):
    told: dict[str, str] = {}
    objects: dict[str, str] = {}
    for call in (call for name, calls in CALLS.items() if name != IN_THREADS for call in calls):
        point = transaction.savepoint()
        call(deepcopy(world), run)
        told |= {entry.action: audit.sentence(entry) for entry in AuditEntry.objects.all()}
        objects |= {entry.action: entry.object_type for entry in AuditEntry.objects.all()}
        transaction.savepoint_rollback(point)
    assert set(told) == set(registry.names())
    assert objects == {action.name: action.object for action in registry.actions()}
    assert [sentence for sentence in told.values() if "–" in sentence] == []


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
def test_the_watch_sees_what_is_not_told(write, world):
    with watched() as watch:
        write(world)
    assert watch.untold


# ---------------------------------------------------------------- the source: who may write at all

PACKAGE = Path(promptops.__file__).parent
# Here changes belong: actions write and tell; the audit writes itself; migrations run before anybody is there.
MAY_WRITE = re.compile(r"\w+/actions(/|\.py)|migrations/|ledger/(audit|releases)\.py|engine/")
# What models do themselves when an action saves them, and the rows that every installation has from its migration on.
ALLOWED = {
    "apps.py: cursor.execute",  # sets limits of the session
    "management/commands/_start.py: cursor.execute",  # takes the lock of the start
    "web/health.py: cursor.execute",  # takes the lock for writing, and gives it back
    "apps.py: model.objects.using(using).get_or_create",
    "apps.py: versions.get_or_create",
    "apps.py: models['SafetySettings'].objects.using(using).get_or_create",
    "ledger/models/audit.py: super().save",
    "ledger/models/audit_triggers.py: cursor.execute",
    "prompts/models/templates.py: super().save",
    "platform/outages.py: connection.connection.execute",  # how long SQLite waits for a lock
}

WRITERS = {
    prefix + name
    for prefix in ("", "a")
    for name in ("save", "create", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "delete")
} | {"save_base", "raw", "executescript", "execute", "executemany", "_raw_delete"}
# `update` is also a method of dicts, sets and hashes: it counts where it ends a query.
QUERY = re.compile(
    r"\.objects\b|_set\b|\.(filter|exclude|all|order_by|select_for_update|using)\(|\b(rows|queryset|qs)\.a?update$"
)


def writes(source: str) -> list[str]:
    """The calls in a module that write to the database."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        name = node.func.attr
        if name in WRITERS or (name in ("update", "aupdate") and QUERY.search(called)):
            found.append(called)
    return found


def test_nothing_outside_the_actions_writes_to_the_database():
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not MAY_WRITE.match(name):
            found |= {f"{name}: {call}" for call in writes(path.read_text())}
    assert found == ALLOWED


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("user.save()", True),
        ("Template.objects.create(name='x')", True),
        ("await Run.objects.acreate()", True),
        ("Template.objects.filter(pk=1).update(name='x')", True),
        ("template.versions.all().update(note='x')", True),
        ("template.version_set.update(note='x')", True),
        ("rows.update(note='x')", True),
        ("Draft.objects.all().delete()", True),
        ("cursor.execute('update x')", True),
        ("context.update(a=1)", False),
        ("hashlib.sha256().update(b'')", False),
        ("self.seen.update({1})", False),
        ("request.session.pop('x')", False),
        ("actions.erase(run, by=actor)", False),
    ],
)
def test_the_reading_of_the_source(source, seen):
    assert bool(writes(source)) is seen


def test_protected_tables_are_tables():
    assert {
        model._meta.db_table for model in vars(tables).values() if isinstance(model, models.base.ModelBase)
    } >= PROTECTED
