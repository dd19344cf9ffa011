"""Prompt sets as pages show them."""

from dataclasses import dataclass

from django.db.models import Q, QuerySet

from promptops.compare.models import PromptSet
from promptops.runs.models import Run
from promptops.texts.inputs import Format, simplest, write

PER_PAGE = 50
# How far back past runs are read, so that a long history makes nobody wait.
RUNS_READ = 20_000
# What fits into a form: the server takes 1 MiB of it, and a character may have four bytes.
BOX_CHARACTERS = 250_000


def listed(search: str = "", *, archived: bool = False) -> QuerySet[PromptSet]:
    """The sets whose name or description holds `search`, without their inputs."""
    found = PromptSet.objects.filter(archived_at__isnull=not archived).defer("inputs")
    if search:
        found = found.filter(Q(name__icontains=search) | Q(description__icontains=search))
    return found


@dataclass(frozen=True)
class Window:
    """One page of a set's inputs, each with its number in the set; `found` is how many there are on all pages."""

    rows: list[tuple[int, str]]
    found: int
    number: int
    pages: int

    @property
    def previous(self) -> int:
        return self.number - 1

    @property
    def next(self) -> int:
        return self.number + 1


def window(prompt_set: PromptSet, *, number: int = 1, search: str = "") -> Window:
    """The inputs that hold `search` (whatever the case), 50 to a page; a page that is not there is the nearest one."""
    wanted = search.casefold()
    rows = [(place, text) for place, text in enumerate(prompt_set.inputs, start=1) if wanted in text.casefold()]
    pages = max(1, -(-len(rows) // PER_PAGE))
    number = min(max(1, number), pages)
    return Window(rows[(number - 1) * PER_PAGE : number * PER_PAGE], len(rows), number, pages)


def past_inputs(operation: str, newest: int) -> list[str]:
    """The newest distinct inputs of runs of the operation, newest first: not of erased runs, not of drills, not masked.

    At most `newest`, from the newest 20,000 runs, and no more than fit into the box of a form.
    """
    runs = Run.objects.filter(operation=operation, erased_at=None, drill="", input_masked=False).order_by("-pk")
    found: dict[str, None] = {}
    characters = 0
    for text in runs.values_list("input", flat=True)[:RUNS_READ].iterator(chunk_size=500):
        text = text.strip()
        if not text or text in found:
            continue
        characters += len(text) + 20
        if len(found) == newest or characters > BOX_CHARACTERS:
            break
        found[text] = None
    return list(found)


@dataclass(frozen=True)
class Box:
    """Inputs as the text of a form's box, and how they are separated there; `text` None: too long for a form."""

    text: str | None
    format: Format


def box(inputs: list[str]) -> Box:
    """The inputs in the plainest format that holds them."""
    format = simplest(inputs)
    text = write(inputs, format)
    return Box(text if len(text) <= BOX_CHARACTERS else None, format)
