"""Renaming variables that have the name of an input. Older databases could declare such names.

`promptops.apps` does it after each `migrate`. Renaming a variable that a person chooses does not belong here.
"""

import logging
from collections.abc import Iterator
from typing import Any

from django.db import transaction

from promptops.engine.messages import reserved_names, template_names
from promptops.engine.operations import OperationSpec
from promptops.engine.variables import rename
from promptops.ledger import registry
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.ledger.releases import next_revision, record_release
from promptops.prompts.live_operations import spec_of
from promptops.prompts.models import DiscardedDraft, Draft, Template, Variable, Version
from promptops.prompts.queries.templates import next_number

log = logging.getLogger(__name__)

registry.value_labels({"live_texts": "Live texts", "drafts": "Changed drafts"})
registry.register(
    Action(
        "variable.renamed",
        "{actor} renamed variables that had the name of an input: {object}",
        when="an upgrade renamed variables that had the name of an input, also in live texts and drafts",
        makes_versions_live=True,
        passes_freeze=True,  # an upgrade does it, and texts mean what they meant before
    )
)


class _Clashes:
    """The variables of one operation that have the name of an input, and their new names."""

    def __init__(self, operation: str, names: list[str], spec: OperationSpec) -> None:
        self.operation = operation
        self.inputs = template_names(spec)
        taken = set(Variable.objects.filter(operation=operation).values_list("name", flat=True)) | reserved_names(spec)
        self.names: dict[str, str] = {}
        for name in names:
            self.names[name] = _free_name(name, taken)
            taken.add(self.names[name])

    def renamed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the texts of a content with the new names. A name of the input stays in a user template."""
        texts = {"body": content["body"], "user_template": content.get("user_template")}
        for old, new in self.names.items():
            texts["body"] = rename(texts["body"], old, new)
            if texts["user_template"] and old not in self.inputs:
                texts["user_template"] = rename(texts["user_template"], old, new)
        return {name: text for name, text in texts.items() if text != content.get(name)}


@transaction.atomic
def rename_reserved(*, by: Actor) -> dict[str, str]:
    """Rename all variables that have the name of an input, as one release. Return the new names by the old ones.

    `enhance.input` becomes `enhance.input_var`: its declaration, live texts, also of archived templates, drafts,
    discarded drafts, and drafts that undoing a merge restores. Nothing is checked, because each text means what it
    meant before: a text that could not be published today does not stop an upgrade. Examples contain no variables.
    """
    if not _all_clashes():
        return {}
    LiveConfiguration.objects.select_for_update().get(pk=1)  # another process may rename them at this moment
    found = _all_clashes()
    if not found:
        return {}
    revision = next_revision()
    names = {f"{each.operation}.{old}": f"{each.operation}.{new}" for each in found for old, new in each.names.items()}
    note = "An upgrade made these names those of inputs. Variables and the texts that use them were renamed."
    for each in found:
        for old, new in each.names.items():
            Variable.objects.filter(operation=each.operation, name=old).update(name=new, changed_revision=revision)
    replaced = [pair for each in found for pair in _rename_live_texts(each, by, note)]
    rebased = {old.pk: new.pk for old, new in replaced}
    drafts = sum(_rename_drafts(each, rebased) for each in found)
    record_release(
        revision,
        "variable.renamed",
        by=by,
        object_name=", ".join(names)[:200],
        before={"variables": list(names), "live_texts": [str(old) for old, _ in replaced]},
        after={
            "variables": list(names.values()),
            "live_texts": [str(new) for _, new in replaced],
            "drafts": drafts,
        },
        note=note,
    )
    log.info("Renamed variables: %s.", ", ".join(f"{old} is now {new}" for old, new in names.items()))
    return names


def _all_clashes() -> list[_Clashes]:
    variables: dict[str, list[str]] = {}
    for operation, name in Variable.objects.values_list("operation", "name"):
        variables.setdefault(operation, []).append(name)
    clashes = []
    for operation, names in variables.items():
        spec = spec_of(operation)
        if clashing := [name for name in names if name in reserved_names(spec)]:
            clashes.append(_Clashes(operation, clashing, spec))
    return clashes


def _free_name(name: str, taken: set[str]) -> str:
    """Return NAME_var, or NAME_var2 and so on if the operation has such a name."""
    wanted = f"{name[:34]}_var"
    return next(free for free in [wanted, *(f"{wanted}{number}" for number in range(2, 1000))] if free not in taken)


def _rename_live_texts(clashes: _Clashes, by: Actor, note: str) -> Iterator[tuple[Version, Version]]:
    """Make a version with the new names live for each live text that uses an old one. Yield both versions."""
    templates = Template.objects.filter(operation=clashes.operation, live_version__isnull=False)
    for template in templates.select_related("live_version"):
        live = template.live_version
        assert live is not None
        live.template = template
        if texts := clashes.renamed(live.content):
            version = Version(
                template=template,
                number=next_number(template),
                note=note,
                author=by.user,
                author_name=by.name,
                **live.content | texts,
            )
            version.save()
            Template.objects.filter(pk=template.pk).update(live_version=version)
            yield live, version


def _rename_drafts(clashes: _Clashes, rebased: dict[int, int]) -> int:
    """Rename in all drafts of the operation, and return how many changed.

    A draft that started from a live text starts from its new version.
    """
    changed = 0
    for model in (Draft, DiscardedDraft):
        for draft in model.objects.filter(template__operation=clashes.operation):
            values: dict[str, Any] = clashes.renamed(draft.content)
            if draft.base_id in rebased:
                values["base"] = rebased[draft.base_id]
            if isinstance(draft, Draft):
                before = [_renamed_merge(clashes, rebased, each) for each in draft.before_merges]
                values |= {"before_merges": before} if before != draft.before_merges else {}
            if values:
                model.objects.filter(pk=draft.pk).update(**values)
                changed += values.keys() != {"base"}
    return changed


def _renamed_merge(clashes: _Clashes, rebased: dict[int, int], before: dict[str, Any]) -> dict[str, Any]:
    return before | clashes.renamed(before) | {"base": rebased.get(before["base"], before["base"])}
