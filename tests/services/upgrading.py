"""Upgrade the database of DATABASE_URL and print as JSON what is in it: `python -m tests.services.upgrading`."""

import json
import os
from dataclasses import replace

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
django.setup()

from django.core.checks import Tags, run_checks  # noqa: E402
from django.core.management import call_command  # noqa: E402

from promptops.compare.models import Comparison, Trial  # noqa: E402
from promptops.engine.operations import OPERATIONS  # noqa: E402
from promptops.ledger import chain as audit_chain  # noqa: E402
from promptops.ledger import sentences  # noqa: E402
from promptops.ledger.models import AuditEntry  # noqa: E402
from promptops.prompts.live_operations import operation_spec  # noqa: E402
from promptops.prompts.models import DiscardedDraft, Draft, Operation, Template, Variable, Version  # noqa: E402
from promptops.prompts.models.templates import content_sha256  # noqa: E402
from promptops.runs.models import Run  # noqa: E402

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)
    verdict = audit_chain.verify()
    template = Template.objects.get()
    read = {
        "head": str(verdict.head),
        "bad": verdict.bad and str(verdict.bad),
        "warnings": [found.msg for found in run_checks(tags=[Tags.database], databases=["default"])],
        "entries": [[entry.seq, entry.sha256] for entry in AuditEntry.objects.order_by("seq")],
        "newest": sentences.sentence(AuditEntry.objects.latest("seq")),
        "sentence": sentences.sentence(AuditEntry.objects.get(seq=1)),
        "live": template.live_version.number,
        "versions": [[version.number, version.body] for version in Version.objects.order_by("number")],
        "hashes_fit": all(version.sha256 == content_sha256(version.content) for version in Version.objects.all()),
        "runs": [[run.input, run.output] for run in Run.objects.filter(source="preview").order_by("pk")],
        "operations": [[each.name, each.input, each.answer, each.hedge] for each in Operation.objects.all()],
        "specs_fit": all(
            # The engine alone checks no answer.
            replace(operation_spec(each), hedge="", contract=None) == replace(OPERATIONS[each.name], contract=None)
            for each in Operation.objects.all()
        ),
        "drafts": [draft.body for draft in (*Draft.objects.all(), *DiscardedDraft.objects.all())],
        "before_merges": [[each["body"] for each in draft.before_merges] for draft in Draft.objects.all()],
        "variables": [[str(each), each.value] for each in Variable.objects.all()],
        "comparisons": [[comparison.name, comparison.state] for comparison in Comparison.objects.all()],
        "answers": list(Trial.objects.order_by("pk").values_list("run__output", flat=True)),
        "answer_hashes_fit": all(trial.answer_hash == trial.run.answer_hash for trial in Trial.objects.all()),
    }
    print(json.dumps(read))
