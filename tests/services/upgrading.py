"""Upgrade a database and show what is in it: `python -m tests.services.upgrading [OLDEST]`.

It upgrades the database of DATABASE_URL, undoes the migrations after OLDEST (or the newest one, if there are none), and
upgrades it again. It prints as JSON what it read, the main pages that fail, and with OLDEST also `is_stable`: both
upgrades gave the same.
"""

import json
import os
import sys
from dataclasses import replace
from typing import Any

import django

from promptops.__main__ import without_collecting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
without_collecting(django.setup)

from django.core.checks import Tags, run_checks  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.migrations.loader import MigrationLoader  # noqa: E402
from django.test import Client  # noqa: E402

from promptops.compare.models import Comparison, Trial  # noqa: E402
from promptops.engine.operations import OPERATIONS  # noqa: E402
from promptops.ledger import chain as audit_chain  # noqa: E402
from promptops.ledger import sentences  # noqa: E402
from promptops.ledger.models import AuditEntry  # noqa: E402
from promptops.live import documents, snapshots  # noqa: E402
from promptops.people.models import User  # noqa: E402
from promptops.prompts.live_operations import operation_spec  # noqa: E402
from promptops.prompts.models import DiscardedDraft, Draft, Operation, Template, Variable, Version  # noqa: E402
from promptops.prompts.models.templates import content_sha256  # noqa: E402
from promptops.runs.models import Run  # noqa: E402

PAGES = (
    "/",
    "/prompts/",
    "/prompts/enhance/",
    "/prompts/enhance/history/",
    "/variables/",
    "/operations/",
    "/providers/",
    "/runs/",
    "/compare/",
    "/safety/",
    "/fleet/",
    "/timeline/",
    "/audit/",
    "/settings/",
    "/settings/people/",
    "/settings/tokens/",
)


def read() -> dict[str, Any]:
    """Return what is in the database and what is live."""
    snapshots.forget()
    verdict = audit_chain.verify()
    template = Template.objects.get(name="enhance")
    return {
        "head": str(verdict.head),
        "bad": verdict.bad and str(verdict.bad),
        "warnings": [found.msg for found in run_checks(tags=[Tags.database], databases=["default"])],
        "entries": [[entry.seq, entry.sha256] for entry in AuditEntry.objects.order_by("seq")],
        "newest": sentences.sentence(AuditEntry.objects.latest("seq")),
        "sentence": sentences.sentence(AuditEntry.objects.get(seq=1)),
        "live": template.live_version.number,
        "versions": [[version.number, version.body] for version in template.versions.order_by("number")],
        "hashes_fit": all(version.sha256 == content_sha256(version.content) for version in Version.objects.all()),
        "runs": [[run.input, run.output] for run in Run.objects.filter(source="preview").order_by("pk")],
        "operations": [
            [each.name, each.input, each.answer, each.hedge] for each in Operation.objects.filter(built_in=True)
        ],
        "specs_fit": all(
            # The engine alone checks no answer.
            replace(operation_spec(each), hedge="", contract=None) == replace(OPERATIONS[each.name], contract=None)
            for each in Operation.objects.filter(built_in=True)
        ),
        "drafts": [draft.body for draft in (*Draft.objects.all(), *DiscardedDraft.objects.all())],
        "before_merges": [[each["body"] for each in draft.before_merges] for draft in Draft.objects.all()],
        "variables": [[str(each), each.value] for each in Variable.objects.all()],
        "comparisons": [[comparison.name, comparison.state] for comparison in Comparison.objects.all()],
        "answers": list(Trial.objects.order_by("pk").values_list("run__output", flat=True)),
        "answer_hashes_fit": all(trial.answer_hash == trial.run.answer_hash for trial in Trial.objects.all()),
        "live_texts": {each["name"]: each["text"] for each in documents.current().values["templates"]},
    }


def failing_pages() -> list[str]:
    """Return the main pages that an administrator cannot read, each with its status. The audit records the sign-in."""
    client = Client(headers={"Host": "localhost"})
    client.force_login(User.objects.get(username="ada"), backend="django.contrib.auth.backends.ModelBackend")
    statuses = {page: client.get(page).status_code for page in PAGES}
    return [f"{page}: {status}" for page, status in statuses.items() if status != 200]


def undo_from(oldest: str) -> None:
    """Undo the migrations after `oldest`, a prefix of its name, or the newest one if there are none."""
    loader = MigrationLoader(connection)
    (newest,) = loader.graph.leaf_nodes("promptops")
    kept = loader.get_migration_by_prefix("promptops", oldest).name
    names = [name for app, name in loader.graph.forwards_plan(newest) if app == "promptops"]
    call_command("migrate", "promptops", kept if kept != names[-1] else names[-2], verbosity=0)


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    upgraded = read()
    if oldest := "".join(sys.argv[1:]):
        undo_from(oldest)
        call_command("migrate", verbosity=0)
        upgraded["is_stable"] = read() == upgraded
    upgraded["failing_pages"] = failing_pages()
    print(json.dumps(upgraded))
