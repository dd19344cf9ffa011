"""A world with an object of each kind, and the preparations that calls of actions need."""

import io
import zipfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.utils import timezone

from promptops import models as tables
from promptops.alerts.actions import deliveries as alert_deliveries
from promptops.alerts.actions import destinations
from promptops.compare import ballots
from promptops.compare.actions import comparisons, prompt_sets
from promptops.compare.models import PromptSet
from promptops.engine.types import PromptOperation
from promptops.ledger import audit
from promptops.ledger.actions import exports
from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.people.actions import accounts, second_step, sign_on
from promptops.people.enums import LinkPurpose
from promptops.people.models import OneTimeLink, User
from promptops.people.openid import SignedOn
from promptops.prompts.actions import drafts, handover, operations, sets, variables
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Operation, ReleaseRequest, Template, Variable, Version
from promptops.providers.actions import chain
from promptops.providers.key_variables import address_of
from promptops.providers.models import Provider
from promptops.runs import plans
from promptops.runs.enums import RunSource
from promptops.runs.models import Run
from promptops.safety.actions import reviews as safety_reviews
from promptops.safety.actions import second_looks
from promptops.site import actions as settings
from tests.audit_tools import settle
from tests.comparing import answer, compare

PASSWORD = "correct horse battery"
SECRET = pyotp.random_base32()
SIGNED_ON = SignedOn("https://id.example", "1", {"preferred_username": "new", "name": "New", "groups": ["ops"]}, "")

SECOND = audit.Actor("Second")
"""A second person."""


@dataclass
class World:
    """An object of each kind, for the actions to work on."""

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
        """Make a draft based on the version that was live before. Return the arguments that accept its merge."""
        draft = drafts.save_draft(self.template, Content("Draft."), user=self.user, base=self.first.pk)
        assert draft
        return {"user": self.user, "expected": self.live.pk, "seen": draft.sha256}

    @property
    def editing(self) -> audit.Actor:
        return audit.Actor.person(self.user)

    def draft(self) -> None:
        drafts.save_draft(self.template, Content("Draft."), user=self.user, base=self.live.pk)

    def request(self) -> ReleaseRequest:
        self.draft()
        return handover.ask(self.template, by=self.editing)

    def link(self, purpose: LinkPurpose, **fields: Any) -> tuple[OneTimeLink, str]:
        return accounts._make_link(purpose, "editor", timedelta(hours=1), **fields)

    def variable(self) -> Variable:
        return variables.declare("enhance", "mood", "calm", by=self.actor)

    def operation(self) -> Operation:
        return operations.add("caption", operations.OperationFields("Names a clip."), by=self.actor)

    @property
    def revision(self) -> int:
        return self.config.revision

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
        """Return the arguments of a vote on two answers."""
        comparison = compare(self.actor, inputs=1)
        answer(comparison)
        given, pair = comparison.inputs.get().pk, tuple(comparison.arms.values_list("pk", flat=True))
        marked = ballots.mark(self.actor.user.pk, given, 0, pair)
        return {"comparison": comparison, "input": given, "repeat": 0, "ballot": marked, "side": "left"}

    def run(self, **fields: Any) -> Run:
        given = {"source": "preview", "operation": "enhance", "temperature": 0.7, "max_tokens": 9, "revision": 1}
        return Run.objects.create(**given, latency_ms=1.0, status="succeeded", input="a fox", **fields)


def judged(run: Run) -> tables.SafetyCheck:
    """Return a verdict on the run."""
    given = {"side": "input", "decision": "allow", "layer": "model", "scores": {"hate": 0.6}, "mode": "shadow"}
    return tables.SafetyCheck.objects.create(run=run, **given)


def reviewed(world: World) -> tables.SafetyCheck:
    """Return a verdict that a person reviewed."""
    check = judged(world.run())
    safety_reviews.review(check, "wrong", by=world.actor)
    return check


def disputed(world: World) -> tables.SafetyCheck:
    """Return a verdict that two people reviewed and read differently."""
    check = reviewed(world)
    second_looks.look_again(check, "right", by=SECOND)
    return check


def example() -> None:
    """Add an example that is not held out, so that there is something to learn."""
    text = "a lantern drifts over the quiet plaza"
    tables.SafetyExample.objects.create(label="hard", text=text, user_name="Ada")


def without_administrator(world: World) -> None:
    """Leave no administrator."""
    User.objects.update(role="editor")


def first_start(world: World) -> Path:
    """Delete all templates, and write a file to import."""
    Template.objects.update(live_version=None)
    for model in (tables.Release, Version, Template):
        model.objects.all().delete()
    (world.folder / "enhance.txt").write_text("Polish it.")
    return world.folder


def old(run: Run) -> Run:
    """Make the run older than the retention setting."""
    Run.objects.filter(pk=run.pk).update(at=timezone.now() - timedelta(days=999))
    return run


def expired(run: Run) -> None:
    """Make the run older than both settings, without its text."""
    LiveConfiguration.objects.update(run_deletion_days=90)
    Run.objects.filter(pk=old(run).pk).update(erased_at=timezone.now())


def keyless(world: World) -> None:
    """Let the database look as if it had stored no secret key yet."""
    LiveConfiguration.objects.update(key_check="")


def counted(world: World) -> None:
    """Export twice, two minutes ago."""
    for _ in range(2):
        exports.record_export("audit.exported", by=world.actor, object_name="the audit", after={"format": "csv"})
    tables.ExportTally.objects.update(since=timezone.now() - timedelta(minutes=2))


def unprotected(world: World) -> None:
    """Drop one of the audit's triggers."""
    if connection.vendor == "sqlite":
        connection.cursor().execute("DROP TRIGGER audit_entry_update")
    else:
        settle()
        connection.cursor().execute("DROP TRIGGER audit_entry_update ON promptops_auditentry")


def archive(world: World) -> io.BytesIO:
    """Return the live set as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in sets.export_files(by=world.actor).items():
            file.writestr(name, text)
    return buffer


def changed_set(world: World) -> list[Any]:
    """Return the live set with another text and another default."""
    entries = {entry.name: entry for entry in sets.read_zip(archive(world))}
    enhance = replace(entries["enhance"], content=Content("Third."), description="Shorter", default=False)
    return [enhance, replace(entries["other"], default=True)]


def signed_in(world: World) -> tables.UserSession:
    """Return a session of the user."""
    session = SessionStore()
    session.create()
    accounts.remember_session(world.user, session.session_key, address="192.0.2.1", browser="Firefox on Linux")
    return world.user.sessions.get(session=session.session_key)


def linked(world: World) -> None:
    """Link the user to the account of `SIGNED_ON`."""
    sign_on.link_identity(world.user, "1", by=world.actor)


def stepped(world: World) -> list[str]:
    """Turn on the user's second step, and return the recovery codes."""
    return second_step.turn_on(world.user, SECRET, pyotp.TOTP(SECRET).now())


def old_session(world: World) -> tables.UserSession:
    """Return a session that was last used an hour ago."""
    tables.UserSession.objects.filter(pk=signed_in(world).pk).update(seen_at=timezone.now() - timedelta(hours=1))
    return world.user.sessions.get()


def learned_of(provider: Provider) -> tuple[str, str, str, str]:
    """Return facts that a run may learn about the provider."""
    return address_of(provider), "m", "no_temperature", "Unsupported parameter: temperature"


WEBHOOK = destinations.DestinationFields("On call", "webhook", ("release.made",), address="https://hooks.example.org/x")


def destination(world: World) -> tables.Destination:
    """Return a webhook that gets releases, the only destination."""
    tables.Destination.objects.all().delete()
    return destinations.add(WEBHOOK, by=world.actor)[0]


def claimed(world: World) -> tables.Delivery:
    """Return a test message whose attempt is in progress."""
    alert_deliveries.send_test(destination(world), by=world.actor)
    return alert_deliveries.claim(timezone.now(), 1, is_test=True)[0]


NEW_SET = {"name": "Foxes", "description": "", "inputs": ["a fox", "two foxes"], "expected": 1}
NEW = chain.ProviderFields("new", "groq", "m")
FIELDS = chain.ProviderFields("on", "groq", "another-model")
JOINER = {"username": "new", "name": "New", "password": PASSWORD}
CHANGED = settings.Settings(timeout_ms=9000, temperature=0.1, max_tokens=99, run_retention_days=9)


def masked(run: Run) -> Run:
    """Mask the input of the run."""
    run.input_masked = True
    run.save()
    return run


def another_model() -> tables.SafetyModelVersion:
    """Return a second model of the safety filter."""
    manifest = tables.SafetyModelVersion.objects.get(number=1).manifest
    return tables.SafetyModelVersion.objects.create(
        number=2, data=b"model", sha256="a" * 64, manifest=manifest, user_name="Ada"
    )
