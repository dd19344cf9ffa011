"""The texts of an import with a person's choices, as the page shows them and as the import takes them."""

from dataclasses import dataclass, replace

from django.http import QueryDict

from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts.actions.importing import NewOperation, Text
from promptops.prompts.import_forms import NewOperationForm, operation_name
from promptops.prompts.models import Template
from promptops.prompts.queries.operations import live_choices
from promptops.prompts.queries.similar import Similar, similar_texts
from promptops.texts import sources
from promptops.texts.sources import Candidate

NEW = "+new"
"""The choice of an operation that the import makes."""

ONLY_RELEASERS = "Only releasers and administrators can make an operation. Choose one that exists, or ask one of them."


@dataclass(frozen=True)
class Row:
    """A text that was found, with the person's choices. `template` is the one of this name, if there is one."""

    number: int
    candidate: Candidate
    chosen: bool
    name: str
    operation: str
    keeps_invisible: bool
    variables: frozenset[str]
    """The placeholders to write as variables, as they are written in the text."""
    new: NewOperationForm | None = None
    """The operation to make; None for a person who may not make one."""
    similar: tuple[Similar, ...] = ()
    template: Template | None = None

    @property
    def prefix(self) -> str:
        """Return the beginning of the names of this row's fields."""
        return f"text-{self.number}"

    @property
    def makes_operation(self) -> bool:
        """Return whether the text is for an operation that the import makes."""
        return self.operation == NEW

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with the operation to make."""
        if not self.makes_operation:
            return []
        if self.template:
            return [f"{self.name} exists and serves {self.template.operation}. Choose another name for the template."]
        return [f"{self.name}: {each}" for each in self.new.problems] if self.new else [ONLY_RELEASERS]

    @property
    def text(self) -> Text:
        """Return the text as the import takes it. Call it for a row without problems."""
        operation = self.new.operation.name if self.makes_operation and self.new else self.operation
        return Text(self.name, operation, self.body)

    @property
    def body(self) -> str:
        """Return the text to import."""
        text = sources.with_variables(self.candidate.text, set(self.variables))
        return text if self.keeps_invisible else sources.without_invisible(text)

    @property
    def size(self) -> int:
        """Return the size of the text in bytes of UTF-8."""
        return len(self.body.encode(errors="replace"))

    @property
    def is_too_long(self) -> bool:
        """Return whether the text is longer than a prompt may be."""
        return self.size > MAX_BODY_BYTES


def rows_of(candidates: list[Candidate], sent: QueryDict | None, *, may_make: bool) -> list[Row]:
    """Return a row for each text, with the choices that were sent for it (None: as it is first shown).

    `may_make`: the person may make operations.
    """
    operations = [*(name for name, _ in live_choices()), NEW]
    names: set[str] = set()
    rows = []
    for number, candidate in enumerate(candidates):
        prefix = f"text-{number}"
        name = _free(candidate.name, names) if sent is None else sent.get(f"{prefix}-name", "").strip()
        wanted = operation_name(candidate.name) if sent is None else sent.get(f"{prefix}-operation")
        names.add(name)
        rows.append(
            Row(
                number,
                candidate,
                chosen=not candidate.is_short if sent is None else f"{prefix}-chosen" in sent,
                name=name,
                operation=wanted if wanted in operations else operations[0],
                keeps_invisible=sent is None or not candidate.invisible or f"{prefix}-invisible" in sent,
                variables=frozenset() if sent is None else frozenset(sent.getlist(f"{prefix}-variable")),
                new=_new(sent, f"{prefix}-new", name, is_chosen=wanted == NEW) if may_make else None,
            )
        )
    return _compared(rows)


def operations_of(rows: list[Row]) -> tuple[list[NewOperation], list[str]]:
    """Return the operations that the chosen texts need, each once, and what is wrong with them."""
    wanted: dict[str, NewOperation] = {}
    problems = []
    for row in rows:
        if row.chosen and row.problems:
            problems += row.problems
        elif row.chosen and row.makes_operation and row.new:
            operation = row.new.operation
            if wanted.setdefault(operation.name, operation) != operation:
                problems.append(f"{operation.name}: two texts make this operation differently. Make both equal.")
    return list(wanted.values()), problems


def _new(sent: QueryDict | None, prefix: str, name: str, *, is_chosen: bool) -> NewOperationForm:
    return NewOperationForm(sent if is_chosen else None, prefix=prefix, suggested=name)


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number at its end if another text has it already."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name[: sources.MAX_NAME_CHARACTERS - 4]}-{number}"
    return free


def _compared(rows: list[Row]) -> list[Row]:
    """Return the rows with the templates of their names and with what resembles them."""
    existing = Template.objects.filter(name__in=[row.name for row in rows]).select_related("live_version")
    by_name = {template.name: template for template in existing}
    similar = similar_texts([(row.name, row.candidate.text) for row in rows])
    return [
        replace(row, similar=tuple(resembling), template=by_name.get(row.name))
        for row, resembling in zip(rows, similar, strict=True)
    ]
