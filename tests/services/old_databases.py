"""Fill a database of an older PromptOps, as `tests/data/databases` keeps them.

`python -m tests.services.old_databases MIGRATION` migrates the empty database of DATABASE_URL up to that one and makes
rows with its models.
"""

import hashlib
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.migrations.loader import MigrationLoader  # noqa: E402

from promptops.compare.models.prompt_sets import inputs_sha256  # noqa: E402
from promptops.ledger import audit  # noqa: E402
from promptops.prompts.models.templates import content_sha256  # noqa: E402

BEGAN = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
BODIES = ("Polish it. ж 🦊", "Polish it in blue.", "Polish it, and keep the subject.")


class Builder:
    """Adds rows by the name of their model."""

    def __init__(self, migration: str) -> None:
        self.apps = MigrationLoader(connection).project_state(("promptops", migration)).apps
        self.seq, self.sha256 = 0, audit.GENESIS

    def has(self, model: str) -> bool:
        return model.lower() in self.apps.all_models["promptops"]

    def add(self, model: str, /, **fields: Any) -> Any:
        return self.apps.get_model("promptops", model).objects.create(**fields)

    def record(self, action: str, person: Any, **fields: Any) -> None:
        """Append an entry to the audit and move its head."""
        self.seq += 1
        values = {
            "seq": self.seq,
            "at": BEGAN + timedelta(hours=self.seq),
            "action": action,
            "actor_id": person.pk,
            "actor_name": person.name,
            "address": "192.0.2.7",
            "object_type": "template",
            "object_id": "1",
            "object_name": "enhance",
            "before": {"body": BODIES[0], "temperature": 0.7, "model": None},
            "after": {"version": self.seq, "order": ["a", "ж"], "share": 5.0},
            "note": "Because it was asked for",
            "revision": None,
            "previous_sha256": self.sha256,
            **fields,
        }
        told = audit.hashed(values.get(name) for name in audit.FIELDS)
        self.sha256 = hashlib.sha256(audit.canonical_json(told).encode()).hexdigest()
        self.add("AuditEntry", **values, sha256=self.sha256)
        head = self.apps.get_model("promptops", "AuditHead").objects
        head.update(seq=self.seq, sha256=self.sha256)


def fill(builder: Builder) -> None:
    """Add people, prompts, releases, runs and what else there was."""
    ada = builder.add("User", username="ada", name="Ada Lovelace", role="administrator", password="!", joined_at=BEGAN)
    bo = builder.add("User", username="bo", name="Bo", role="editor", password="!", joined_at=BEGAN)
    provider = builder.add("Provider", name="one", kind="openai", base_url="http://127.0.0.1:1/v1", position=1)
    template = builder.add("Template", name="enhance", operation="enhance", is_default=True, created_at=BEGAN)
    for number, body in enumerate(BODIES, start=1):
        content = {"body": body, "temperature": 0.7, "max_tokens": None, "model": ""}
        version = builder.add(
            "Version",
            **content,
            template=template,
            number=number,
            author=ada,
            author_name=ada.name,
            created_at=BEGAN,
            sha256=content_sha256(content),
        )
        template.live_version = version
        template.save()
        builder.add(
            "Release",
            revision=number,
            action="template.published",
            user=ada,
            user_name=ada.name,
            template=template,
            version=version,
            note=f"Release {number}",
            at=BEGAN + timedelta(hours=number),
        )
        builder.record("template.published", ada, revision=number)
    builder.apps.get_model("promptops", "LiveConfiguration").objects.update(revision=len(BODIES), settings_revision=1)
    _hedge(builder)
    builder.add("Draft", template=template, user=bo, body="Polish it in green.", base=version)
    builder.add("DiscardedDraft", template=template, user=bo, body="Discarded", base=version)
    builder.add("Variable", operation="enhance", name="season", value="winter")
    builder.add("Sample", operation="enhance", text="a fox")
    for number in range(4):
        builder.record("template.described", bo, note=f"Entry {number}")
        _run(builder, template, version, bo, f"a fox, number {number}", source="preview")
    if builder.has("Comparison"):
        _comparison(builder, template, version, provider, bo)
        inputs = ["a fox", "a hare"]
        builder.add(
            "PromptSet",
            name="Animals",
            inputs=inputs,
            input_count=len(inputs),
            inputs_sha256=inputs_sha256(inputs),
            created_by=bo,
            created_by_name=bo.name,
        )
        builder.add("SafetyTerm", kind="deny", text="gore", category="violence")
    if builder.has("Lease"):  # from 0094 on
        _operation(builder, ada)
        _machines(builder, template, version, ada)


def _hedge(builder: Builder) -> None:
    if builder.has("Operation"):  # from 0060 on
        operations = builder.apps.get_model("promptops", "Operation").objects
        operations.filter(name="enhance").update(hedge="p95")
        operations.filter(name="rewrite").update(hedge="250")
    elif builder.has("ExportTally"):  # from 0045 on
        settings = builder.apps.get_model("promptops", "LiveConfiguration").objects
        settings.update(hedge_enhance="p95", hedge_rewrite="250")


def _operation(builder: Builder, person: Any) -> None:
    """Add an operation that is not built in, and a version with all its texts."""
    schema = {"type": "object", "properties": {"zoom": {"type": "number"}, "angle": {"type": "string"}}}
    fields = [{"name": "scene", "description": "The scene.", "required": True, "max_characters": 500}]
    answer = {"kind": "json", "schema": schema}
    builder.add(
        "Operation",
        name="camera",
        purpose="Choose the camera for a scene.",
        input="fields",
        fields=fields,
        answer=answer,
        on_failure="hold",
    )
    content = {"body": "Answer in JSON.", "temperature": 0.2, "max_tokens": 200, "model": "", "seed": 7}
    content |= {
        "user_template": "The scene: {{ scene }}",
        "examples": '{"scene": "a fox"}\n=>\n{"zoom": 2}',
        "answer_rules": "at most 60 words",
    }
    camera = builder.add("Template", name="camera", operation="camera", is_default=True, created_at=BEGAN)
    camera.live_version = builder.add(
        "Version",
        **content,
        template=camera,
        number=1,
        author=person,
        author_name=person.name,
        created_at=BEGAN,
        sha256=content_sha256(content),
    )
    camera.save()


def _machines(builder: Builder, template: Any, version: Any, person: Any) -> None:
    """Add a token with its audit entries, a server, a lever that ended, and totals of deleted runs."""
    token = builder.add(
        "Token",
        name="gpu-7",
        token_sha256=hashlib.sha256(b"po_kept").hexdigest(),
        scopes=["follow", "run"],
        made_by=person,
        made_by_name=person.name,
        made_at=BEGAN,
    )
    server = {"instance": "one", "kind": "library"}
    builder.add("Server", **server, name="gpu-7", labels={"zone": "a"}, token=token.pk, revision=3, state="ready")
    builder.add("Acknowledgement", **server, server="gpu-7", revision=3, outcome="applied", at=BEGAN, seconds=0.05)
    builder.add(
        "Lever",
        kind="pass_through",
        operation="enhance",
        note="The provider is down",
        user=person,
        user_name=person.name,
        pulled_at=BEGAN,
        pulled_revision=2,
        expires_at=BEGAN + timedelta(hours=1),
        ended_at=BEGAN + timedelta(minutes=30),
        ended_revision=3,
        ended_by=person.name,
    )
    builder.add(
        "RunTotals",
        hour=BEGAN.replace(minute=0, second=0, microsecond=0),
        operation="enhance",
        template=template,
        version=version,
        revision=3,
        source="api",
        status="succeeded",
        provider="one",
        runs=12,
    )
    builder.record("token.made", person, object_type="token", object_id=str(token.pk), object_name=token.name)
    builder.record("template.described", person, token_id=token.pk, request_id="the-request")


def _run(builder: Builder, template: Any, version: Any, person: Any, text: str, source: str) -> Any:
    run = builder.add(
        "Run",
        at=BEGAN,
        source=source,
        operation="enhance",
        temperature=0.7,
        max_tokens=300,
        revision=3,
        input=text,
        output=f"{text}, in color",
        status="succeeded",
        latency_ms=12.5,
        provider="one",
        template=template,
        version=version,
        user=person,
    )
    builder.add("Attempt", run=run, position=1, provider="one", outcome="succeeded", started_ms=0, latency_ms=12)
    return run


def _comparison(builder: Builder, template: Any, version: Any, provider: Any, person: Any) -> None:
    comparison = builder.add(
        "Comparison",
        name="Warm or cold",
        operation="enhance",
        inputs_from="Animals",
        state="done",
        revision=3,
        timeout_ms=5000,
        created_at=BEGAN,
        user=person,
        user_name=person.name,
    )
    arms = [
        builder.add(
            "Arm",
            comparison=comparison,
            position=position,
            template=template,
            version=version,
            body=version.body,
            temperature=position / 2,
            max_tokens=300,
            provider=provider,
            provider_name=provider.name,
            provider_kind=provider.kind,
        )
        for position in range(2)
    ]
    for position, text in enumerate(("a fox", "a hare")):
        given = builder.add("ComparisonInput", comparison=comparison, position=position, text=text)
        for arm in arms:
            run = _run(builder, template, version, person, f"{text} by {arm.position}", source="comparison")
            fields = {"comparison": comparison, "arm": arm, "input": given, "run": run, "finished_at": BEGAN}
            if builder.has("SafetyTraining"):  # from 0023 on; the hash came with 0021
                digest = hashlib.sha256(run.output.encode()).digest()
                fields["answer_hash"] = int.from_bytes(digest[:8], "big", signed=True)
            builder.add("Trial", state="succeeded", **fields)
        builder.add(
            "Vote",
            comparison=comparison,
            input=given,
            first=arms[0],
            second=arms[1],
            user=person,
            user_name=person.name,
            choice="first",
            first_on_left=True,
        )


if __name__ == "__main__":
    name = MigrationLoader(connection).get_migration_by_prefix("promptops", sys.argv[1]).name
    call_command("migrate", "promptops", name, verbosity=0)
    with transaction.atomic():
        fill(Builder(name))
