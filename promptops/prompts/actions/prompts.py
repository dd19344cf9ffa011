"""Prompts as plain-text files: imported at the first start, exported on demand. Sets with settings are in `sets`."""

import hashlib
import json
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.snapshot import TemplateSpec
from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.platform.text import decode_body
from promptops.prompts.actions._files import exported, exported_template, write_files
from promptops.prompts.actions.releases import publish
from promptops.prompts.actions.templates import create_template
from promptops.prompts.checks import failures, run_checks
from promptops.prompts.content import Content
from promptops.prompts.live_operations import spec_of
from promptops.prompts.models import Template

MANIFEST = "manifest.json"


@transaction.atomic
def import_prompts(folder: Path, *, by: Actor) -> list[str]:
    """Publish the file of each operation, such as `enhance.txt`, as v1 of its template, at the first start.

    Does nothing once any template exists. Returns a sentence for each file that is missing or invalid. Its operation
    then runs on the engine's built-in text, and the overview says so.
    """
    # Releases lock this row first. Locking it after a row of the audit could end in a deadlock with a release.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    if Template.objects.exists():
        return []
    problems = []
    for operation in live.load().operations.values():
        path = folder / f"{operation.name}.txt"
        try:
            body = decode_body(path.read_bytes())
        except OSError as error:
            problems.append(f"{path.name} was not imported: {error.strerror}.")
            continue
        except ValidationError as error:
            problems.append(f"{path.name} was not imported: {' '.join(error.messages)}")
            continue
        if failed := failures(run_checks(body, {})):
            problems.append(f"{path.name} was not imported: {' '.join(failed)}")
            continue
        template = create_template(operation.name, operation.name, by=by, description=operation.purpose)
        publish(template, Content(body), by=by, expected=None, note=f"Imported from {path.name}")
    return problems


def export_prompts(folder: Path, *, by: Actor, keep_variables: bool = False) -> list[Path]:
    """Write every live text into the folder, which is created if it is missing; return the paths.

    The default template of an operation is `<operation>.txt`, every other one `templates/<template>.txt`. The last file
    is MANIFEST: the revision, and for each file its template, version and SHA-256, and what the version has beside its
    system prompt. No file is ever half written. Variables are filled in unless `keep_variables`. Raises OSError, and
    Refused when a live text uses a variable that is not declared.
    """
    snapshot = live.load()
    files: dict[str, str] = {}
    facts: dict[str, dict[str, object]] = {}
    defaults = set(snapshot.defaults.values())
    for template in snapshot.templates:
        values = snapshot.variables.get(template.operation, {})
        path = f"{template.operation}.txt" if template.id in defaults else f"templates/{template.name}.txt"
        files[path] = exported(template.name, template.body, values, keep_variables=keep_variables) + "\n"
        facts[path] = {
            "template": template.name,
            "operation": template.operation,
            "version": template.version_number,
            "sha256": hashlib.sha256(files[path].encode()).hexdigest(),
        }
        facts[path] |= _more(
            template,
            exported_template(
                template.name,
                template.user_template,
                values,
                spec_of(template.operation),
                keep_variables=keep_variables,
            ),
        )
    manifest = {"revision": snapshot.revision, "files": facts}
    files[MANIFEST] = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    paths = write_files(folder, files)
    with transaction.atomic():
        audit.record("prompts.exported", by=by, object_name="the live prompts", after={"files": len(paths)})
    return paths


def _more(template: TemplateSpec, user_template: str) -> dict[str, object]:
    """Return what a version has beside its system prompt, without what is left to its default."""
    settings: dict[str, object] = {
        "temperature": template.temperature,
        "max_tokens": template.max_tokens,
        "model": template.model or None,
        **template.parameters,
    }
    more = {
        "settings": {name: value for name, value in settings.items() if value is not None},
        "user_template": user_template,
        "examples": [{"user": user, "assistant": assistant} for user, assistant in template.examples],
    }
    return {name: value for name, value in more.items() if value}
