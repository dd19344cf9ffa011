"""Exporting and importing all templates as files, for people who keep prompts in git. The format is in `_set_files`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.db import transaction

from promptops.engine.snapshot import Snapshot, TemplateSpec
from promptops.engine.variables import fill
from promptops.ledger import audit, registry
from promptops.ledger.actions.exports import record_export
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.live import snapshots as live
from promptops.prompts.actions import _set_files
from promptops.prompts.actions._files import exported, exported_template, write_files
from promptops.prompts.actions._operations import check_operation
from promptops.prompts.actions._set_files import BadSet, Entry, state_sha256
from promptops.prompts.actions.releases import publish
from promptops.prompts.actions.templates import RESERVED_NAMES, create_template, describe, make_default
from promptops.prompts.content import Content
from promptops.prompts.live_operations import spec_of
from promptops.prompts.models import Template, Version

registry.noun("prompts", "Prompt files")
registry.register(
    Action(
        "prompts.exported",
        "{actor} exported the live prompts (files: {after[files]})",
        when="the live texts were written to files",
        is_change=False,
    ),
    Action(
        "prompts.imported",
        "{actor} imported {object} from files (templates changed: {after[templates]})",
        when="templates were imported from files; each change has entries of its own before it",
    ),
)

NOTE = "Imported from files"


@dataclass(frozen=True)
class Planned:
    """The changes of importing one entry. `template` exists now (None: it will be created); `before` is its state."""

    entry: Entry
    template: Template | None
    before: dict[str, Any]

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """Return (field, before, after) for everything that changes except the text."""
        after = self.entry.state
        return [(key, self.before.get(key), after[key]) for key in after if key != "body" and not self._same(key)]

    @property
    def texts(self) -> tuple[str, str] | None:
        """Return the text before and after, or None if it does not change."""
        return None if self._same("body") else (self.before.get("body") or "", self.entry.content.body)

    @property
    def publishes(self) -> bool:
        """Return whether the import makes a version."""
        return any(not self._same(key) for key in vars(self.entry.content))

    def _same(self, key: str) -> bool:
        return key in self.before and self.before[key] == self.entry.state[key]


@dataclass(frozen=True)
class Plan:
    """The effect of an import. Templates in `left` have no files and stay. `problems` prevent the import."""

    changes: list[Planned]
    unchanged: list[str]
    left: list[str]
    problems: list[str]


def export_files(*, by: Actor, keep_variables: bool = False) -> dict[str, str]:
    """Return the files of all templates with a live version: contents by name.

    Variables are filled in unless `keep_variables`. Raises Refused when a live text uses a variable that is not
    declared.
    """
    files = _files(keep_variables)
    _record_export(files, by)
    return files


def write_set(folder: Path, *, by: Actor, keep_variables: bool = False) -> list[Path]:
    """Write the set into a folder, which is created if it is missing, and return the paths. No file is half written.

    Files of archived or removed templates stay in the folder. Raises OSError, and the errors of `export_files`.
    """
    files = _files(keep_variables)
    paths = write_files(folder, files)
    _record_export(files, by)
    return paths


def read_folder(folder: Path) -> list[Entry]:
    """Read the set in a folder. Raises BadSet, or OSError for an unreadable folder."""
    return _set_files.read_folder(folder)


def read_zip(file: IO[bytes]) -> list[Entry]:
    """Read the set in a zip archive. Raises BadSet."""
    return _set_files.read_zip(file)


def plan_import(entries: list[Entry]) -> Plan:
    """Return what an import would change, and the problems that prevent it. Four rules protect existing templates:

    - a template that has changed since the export is not overwritten, unless the files already match it;
    - a text whose variables were filled in at the export does not replace a text with variables;
    - templates that the files do not name stay;
    - the operation of a template never changes.
    """
    here = {template.name: template for template in Template.objects.select_related("live_version")}
    entries = _as_edited(entries, here)
    changes, unchanged, problems = [], [], []
    defaults: dict[str, str] = {}
    for entry in entries:
        if entry.default and (other := defaults.setdefault(entry.operation, entry.name)) != entry.name:
            problems.append(f"{entry.name}.json: {other} is already the default for {entry.operation} in these files.")
    for entry in entries:
        template = here.get(entry.name)
        planned = Planned(entry, template, _state(template) if template else {})
        if not planned.changes and not planned.texts:
            unchanged.append(entry.name)
        elif problem := _invalid(entry) or _conflict(planned, defaults):
            problems.append(problem)
        else:
            changes.append(planned)
    named = {entry.name for entry in entries}
    left = [name for name, template in here.items() if name not in named and not template.archived_at]
    return Plan(changes, unchanged, sorted(left), problems)


@transaction.atomic
def import_set(entries: list[Entry], *, by: Actor, note: str = "") -> Plan:
    """Publish all changes of the files, or none. Each changed text becomes a version and a release.

    A version's note comes from its file if the note was changed there, else it is `note`. Returns the plan that was
    carried out. Raises BadSet with all problems, or Refused when there is nothing to change.
    """
    # Releases lock this row first, so nothing that the plan compares with can change after this line.
    LiveConfiguration.objects.select_for_update().get(pk=1)
    plan = plan_import(entries)
    if plan.problems:
        raise BadSet(plan.problems)
    if not plan.changes:
        raise Refused("No changes to import: the files match what is live.")
    for planned in plan.changes:
        _carry_out(planned, by=by, note=note.strip())
    for planned in plan.changes:  # after the texts, because a default needs a live version
        template = Template.objects.get(name=planned.entry.name)
        if planned.entry.default and not template.is_default:
            make_default(template, by=by, note=note.strip() or NOTE)
    audit.record(
        "prompts.imported",
        by=by,
        object_name="prompts",
        after={"templates": len(plan.changes), "names": [planned.entry.name for planned in plan.changes]},
        note=note.strip(),
    )
    return plan


def _carry_out(planned: Planned, *, by: Actor, note: str) -> None:
    entry, template = planned.entry, planned.template
    if template is None:
        template = create_template(entry.name, entry.operation, by=by, description=entry.description)
    elif template.description != entry.description:
        describe(template, entry.description, by=by)
    if planned.publishes:
        now = template.live_version
        own = entry.note if not now or entry.note != now.note else ""
        publish(template, entry.content, by=by, expected=now.pk if now else None, note=own or note or NOTE)


def _as_edited(entries: list[Entry], here: dict[str, Template]) -> list[Entry]:
    """Return the entries. A filled-in text that equals a live one is replaced by the text with its variables."""
    if not any(entry.filled for entry in entries):
        return entries
    snapshot = live.load()
    live_here = {spec.name: spec for spec in snapshot.templates}
    edited = []
    for entry in entries:
        spec = live_here.get(entry.name) if entry.filled else None
        if spec and _filled(spec, snapshot) == (entry.content.body, entry.content.user_template or ""):
            content = replace(entry.content, body=spec.body, user_template=spec.user_template or None)
            entry = replace(entry, content=content, filled=False)
        edited.append(entry)
    return edited


def _filled(spec: TemplateSpec, snapshot: Snapshot) -> tuple[str, str] | None:
    """Return body and user template of a live template as an export fills them in; None if it would refuse them."""
    values, operation = snapshot.variables.get(spec.operation, {}), spec_of(spec.operation)
    try:
        template = exported_template(spec.name, spec.user_template, values, operation, keep_variables=False)
    except Refused:
        return None
    return fill(spec.body, values).strip(), template


def _conflict(planned: Planned, defaults: dict[str, str]) -> str:
    """Return why the entry must not overwrite the existing template, or ""."""
    entry, template = planned.entry, planned.template
    if template is None:
        return ""
    if template.operation != entry.operation:
        return f"{entry.name} serves {template.operation} here, {entry.operation} in its file. Use another name."
    if entry.filled:
        return (
            f"{entry.name}.txt was exported with its variables filled in. Export again with variables kept, then make "
            "your change in those files."
        )
    if template.archived_at:
        return f"{entry.name} is archived here. Restore it first, or remove its files."
    if planned.before["default"] and not entry.default and entry.operation not in defaults:
        return f"{entry.name} is the default for {entry.operation}. Make another template the default in its file."
    version = template.live_version
    if (entry.base_sha256 == state_sha256(planned.before)) if entry.base_sha256 else version is None:
        return ""
    now = f"v{version.number} is live" if version else "nothing is live"
    since = f"the files come from v{entry.base_version}" if entry.base_version else "the files do not name a version"
    changed = f"{entry.name} has changed here since the export: {now}, {since}."
    return f"{changed} Export again and make your change in the new files."


def _invalid(entry: Entry) -> str:
    """Return why the entry cannot be stored, or ""."""
    template = Template(name=entry.name, operation=entry.operation, description=entry.description)
    version = Version(number=1, note=entry.note, author_name="-", **vars(entry.content))
    try:
        if entry.name in RESERVED_NAMES:
            raise ValidationError({"name": "This name is reserved for an address. Choose another name."})
        check_operation(entry.operation)
        template.clean_fields(exclude={"live_version"})
        version.clean_fields(exclude={"template", "author", "sha256"})
    except ValidationError as error:
        reasons = [f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()]
        return f"{entry.name}.json: {' '.join(reasons)}"
    return ""


def _state(template: Template) -> dict[str, Any]:
    version = template.live_version
    state = {"operation": template.operation, "description": template.description, "default": template.is_default}
    return state | (version.content if version else {})


def _files(keep_variables: bool) -> dict[str, str]:
    files: dict[str, str] = {}
    values = live.load().variables
    templates = Template.objects.filter(archived_at=None, live_version__isnull=False).select_related("live_version")
    for template in templates:
        version = template.live_version
        assert version is not None  # by the filter above
        known = values.get(template.operation, {})
        texts = {"body": exported(template.name, version.body, known, keep_variables=keep_variables)}
        if version.user_template:
            spec = spec_of(template.operation)
            texts["user_template"] = exported_template(
                template.name, version.user_template, known, spec, keep_variables=keep_variables
            )
        entry = Entry(
            name=template.name,
            operation=template.operation,
            description=template.description,
            default=template.is_default,
            content=Content(**version.content | texts),
            note=version.note,
            base_version=version.number,
            base_sha256=state_sha256(_state(template)),
            filled=any(text != getattr(version, name) for name, text in texts.items()),
        )
        files |= _set_files.render(entry)
    return files


@transaction.atomic
def _record_export(files: dict[str, str], by: Actor) -> None:
    record_export("prompts.exported", by=by, object_name="the live prompts", after={"files": len(files)})
