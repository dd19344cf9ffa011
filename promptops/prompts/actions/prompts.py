"""Prompts as plain-text files: imported at the first start, exported on demand. Sets with settings are in `sets`."""

from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.ledger import audit
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.platform.text import decode_body
from promptops.prompts.actions._files import exported, write_files
from promptops.prompts.actions.releases import publish
from promptops.prompts.actions.templates import create_template
from promptops.prompts.checks import failures, run_checks
from promptops.prompts.content import Content
from promptops.prompts.models import Template


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
    """Write every live text into the folder, which is created if it is missing, and return the paths.

    The default template of an operation becomes `<operation>.txt`, which an engine reads, whatever the template's name.
    Other live templates become `templates/<template>.txt`.

    No file is ever half written. Variables are filled in unless `keep_variables`. Raises OSError, and Refused when a
    live text uses a variable that is not declared.
    """
    snapshot = live.load()
    defaults = set(snapshot.defaults.values())
    texts = {
        template.operation if template.id in defaults else f"templates/{template.name}": exported(
            template.name,
            template.body,
            snapshot.variables.get(template.operation, {}),
            keep_variables=keep_variables,
        )
        for template in snapshot.templates
    }
    paths = write_files(folder, {f"{name}.txt": text + "\n" for name, text in texts.items()})
    with transaction.atomic():
        audit.record("prompts.exported", by=by, object_name="the live prompts", after={"files": len(paths)})
    return paths
