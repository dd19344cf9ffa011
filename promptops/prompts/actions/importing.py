"""Importing texts of other tools as drafts or as live versions: all of them, or none.

`promptops.texts.sources` finds the texts in files. Sets that this product exported are imported by `sets`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.ledger import audit, registry
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.people.models import User
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.operations import OperationFields, add
from promptops.prompts.actions.releases import publish
from promptops.prompts.actions.templates import create_template
from promptops.prompts.content import Content
from promptops.prompts.enums import InputKind
from promptops.prompts.models import Draft, Template

registry.register(
    Action(
        "prompts.drafts_imported",
        "{actor} imported {object} as drafts (texts: {after[texts]})",
        when="texts were imported from files as drafts of a person; a new template has an entry of its own before it",
    ),
    Action(
        "prompts.versions_imported",
        "{actor} imported {object} as live versions (texts: {after[texts]})",
        when="texts were imported from files and went live; each version has an entry of its own before it",
    ),
)


@dataclass(frozen=True)
class Text:
    """One text to import into the template `name`. A new template serves `operation`."""

    name: str
    operation: str
    body: str


@dataclass(frozen=True)
class NewOperation:
    """An operation that an import makes on the way, for texts that name it."""

    name: str
    fields: OperationFields


def new_operation(
    name: str, answer: dict[str, Any], *, purpose: str = "", input: str = "", field_names: str = ""
) -> NewOperation:
    """Return an operation to make. Everything but the name and the answer may be left out.

    `field_names` are those of an input of named fields, separated by commas or spaces; `mood?` is an optional one.
    """
    names = field_names.replace(",", " ").split()
    fields = [
        {"name": each.rstrip("?"), "description": "", "required": not each.endswith("?"), "max_characters": None}
        for each in names
    ]
    return NewOperation(
        name.strip(),
        OperationFields(
            purpose=purpose.strip() or f"Runs the imported prompt {name.strip()}.",
            input=input or (InputKind.FIELDS if fields else InputKind.TEXT),
            fields=fields,
            answer=answer,
        ),
    )


class NotImported(Refused):
    """Nothing was imported. `problems` has one sentence for each text that cannot be imported."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@transaction.atomic
def import_drafts(
    texts: Sequence[Text], *, by: Actor, user: User, operations: Sequence[NewOperation] = (), note: str = ""
) -> list[Template]:
    """Make each text the draft of `user` for its template, which is created if it is missing. Returns the templates.

    `operations` are made first, each as a release with the note. Raises NotImported for an operation that cannot be
    made, a name that is wrong, there twice or archived, a text that cannot be stored, and a template of which the
    person has a draft already.
    """
    templates = _templates(texts, operations, by=by, note=note)
    drafts = set(Draft.objects.filter(user=user, template__in=templates).values_list("template_id", flat=True))
    problems = [
        f"{template.name}: you have a draft of it already. Publish or discard it first, or choose another name."
        for template in templates
        if template.pk in drafts
    ]
    for template, text in zip(templates, texts, strict=True):
        try:
            save_draft(template, _content(template, text), user=user, base=template.live_version_id)
        except ValidationError as error:
            problems.append(f"{text.name}: {' '.join(error.messages)}")
    if problems:
        raise NotImported(problems)
    _record("prompts.drafts_imported", templates, by=by)
    return templates


@transaction.atomic
def import_versions(
    texts: Sequence[Text], *, by: Actor, note: str = "", operations: Sequence[NewOperation] = ()
) -> list[Template]:
    """Publish each text as the next version of its template, which is created if it is missing.

    The settings of a template stay as they are. Raises NotImported as `import_drafts` does, and for a text that may not
    go live or that changes nothing.
    """
    templates = _templates(texts, operations, by=by, note=note)
    problems = []
    for template, text in zip(templates, texts, strict=True):
        try:
            publish(template, _content(template, text), by=by, expected=template.live_version_id, note=note)
        except ValidationError as error:
            problems.append(f"{text.name}: {' '.join(error.messages)}")
        except Refused as refused:
            problems.append(f"{text.name}: {refused}")
    if problems:
        raise NotImported(problems)
    _record("prompts.versions_imported", templates, by=by)
    return templates


def _templates(texts: Sequence[Text], operations: Sequence[NewOperation], *, by: Actor, note: str) -> list[Template]:
    """Return the template of each text. Make the operations, and create the templates that are missing."""
    # Releases lock this row first, so nobody publishes or creates a template meanwhile.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    if not texts:
        raise NotImported(["Choose at least one text."])
    _make(operations, by=by, note=note)
    twice = [name for name, number in Counter(text.name for text in texts).items() if number > 1]
    problems = [f"{name}: two texts have this name. Change one." for name in twice]
    existing = {
        template.name: template
        for template in Template.objects.filter(name__in=[text.name for text in texts]).select_related("live_version")
    }
    templates = []
    for text in texts:
        template = existing.get(text.name)
        try:
            if template is None:
                template = existing[text.name] = create_template(text.name, text.operation, by=by)
            elif template.archived_at:
                raise Refused("this template is archived. Restore it first, or choose another name.")
        except ValidationError as error:
            problems.append(f"{text.name or 'A text without a name'}: {' '.join(error.messages)}")
        except Refused as refused:
            problems.append(f"{text.name}: {refused}")
        else:
            templates.append(template)
    if problems:
        raise NotImported(problems)
    return templates


def _make(operations: Sequence[NewOperation], *, by: Actor, note: str) -> None:
    problems = []
    for operation in operations:
        try:
            with transaction.atomic():
                add(operation.name, operation.fields, by=by, note=note)
        except ValidationError as error:
            name = operation.name or "An operation without a name"
            problems.append(f"{name}: {' '.join(error.messages)}")
    if problems:
        raise NotImported(problems)


def _content(template: Template, text: Text) -> Content:
    """Return the imported text with everything else of the live version."""
    live = template.live_version
    return Content(**(live.content if live else {}) | {"body": text.body})


def _record(action: str, templates: Sequence[Template], *, by: Actor) -> None:
    names = ", ".join(template.name for template in templates)
    audit.record(action, by=by, object_name=names[:200], after={"texts": len(templates)})
