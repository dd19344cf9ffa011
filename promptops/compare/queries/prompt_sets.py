"""Prompt sets as pages show them: the list, the inputs page by page, and the text of the form's box."""

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from promptops.compare.models import PromptSet
from promptops.runs.models import Run
from promptops.texts.inputs import Format, simplest, write

PER_PAGE = 50
RUNS_READ = 20_000
"""The newest runs that are searched for inputs, so that a long history does not slow the page down."""

BOX_CHARACTERS = 250_000
"""The characters that fit into a form: the server accepts 1 MiB, and a character may have four bytes."""


def listed(search: str = "", *, archived: bool = False) -> QuerySet[PromptSet]:
    """Return the sets whose name or description contains `search`, without their inputs."""
    sets = PromptSet.objects.filter(archived_at__isnull=not archived).defer("inputs")
    if search:
        sets = sets.filter(Q(name__icontains=search) | Q(description__icontains=search))
    return sets


@dataclass(frozen=True)
class Window:
    """One page of a set's inputs, each with its number in the set. `matches` inputs are on all pages together."""

    rows: list[tuple[int, str]]
    matches: int
    number: int
    pages: int

    @property
    def previous(self) -> int:
        """Return the number of the previous page."""
        return self.number - 1

    @property
    def next(self) -> int:
        """Return the number of the next page."""
        return self.number + 1


def window(prompt_set: PromptSet, *, number: int = 1, search: str = "") -> Window:
    """Return a page of the inputs that contain `search` in any case. A missing page becomes the nearest one."""
    wanted = search.casefold()
    rows = [(place, text) for place, text in enumerate(prompt_set.inputs, start=1) if wanted in text.casefold()]
    pages = max(1, -(-len(rows) // PER_PAGE))
    number = min(max(1, number), pages)
    return Window(rows[(number - 1) * PER_PAGE : number * PER_PAGE], len(rows), number, pages)


def past_inputs(operation: str, newest: int) -> list[str]:
    """Return the newest distinct inputs of runs of the operation, without erased runs, drills and masked inputs.

    Returns at most `newest` inputs, from the newest 20,000 runs, and no more than fit into the box of a form.
    """
    runs = Run.objects.filter(operation=operation, erased_at=None, drill="", input_masked=False).order_by("-pk")
    distinct: dict[str, None] = {}
    characters = 0
    for text in runs.values_list("input", flat=True)[:RUNS_READ].iterator(chunk_size=500):
        text = text.strip()
        if not text or text in distinct:
            continue
        characters += len(text) + 20
        if len(distinct) == newest or characters > BOX_CHARACTERS:
            break
        distinct[text] = None
    return list(distinct)


@dataclass(frozen=True)
class Box:
    """Inputs as the text of a form's box, and their format there. `text` is None if they are too long for a form."""

    text: str | None
    format: Format


def box(inputs: list[str]) -> Box:
    """Return the inputs in the simplest format that can represent them."""
    format = simplest(inputs)
    text = write(inputs, format)
    return Box(text if len(text) <= BOX_CHARACTERS else None, format)
