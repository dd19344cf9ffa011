"""Create, change, archive and export prompt sets, the lists of inputs that comparisons run on.

Reading files and text boxes is done in `texts.inputs`; here is decided which inputs a set may hold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from promptops.compare.models import PromptSet
from promptops.compare.models.prompt_sets import inputs_sha256
from promptops.ledger import audit, registry
from promptops.ledger.actions.exports import record_export
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import LiveConfiguration
from promptops.ledger.registry import Action
from promptops.platform.text import clean_input
from promptops.texts.inputs import MAX_PROBLEMS, Format, Line, Problem, Unreadable, decode, read

registry.noun("prompt_set", "Prompt sets")
registry.object_kind("promptset", "Prompt set", url=lambda entry: reverse("prompt_set", args=[entry.object_id]))
registry.value_labels({"inputs_sha256": "SHA-256 of the inputs"})
registry.register(
    Action(
        "prompt_set.created",
        "{actor} created the prompt set {object} (inputs: {after[inputs]})",
        when="a prompt set was made; the entry has the number of inputs and their SHA-256, not the texts",
        object="promptset",
    ),
    Action(
        "prompt_set.changed",
        "{actor} changed the prompt set {object} (inputs: {before[inputs]}, now {after[inputs]})",
        when="name, description or inputs of a prompt set changed",
        object="promptset",
    ),
    Action(
        "prompt_set.archived",
        "{actor} archived the prompt set {object}",
        when="a prompt set was archived; it leaves the lists",
        object="promptset",
    ),
    Action(
        "prompt_set.restored",
        "{actor} restored the prompt set {object} from the archive",
        when="a prompt set came back from the archive",
        object="promptset",
    ),
    Action(
        "prompt_set.exported",
        "{actor} exported the prompt set {object} as {after[format]} (inputs: {after[inputs]})",
        when="the inputs of a prompt set were exported as a file",
        object="promptset",
        is_change=False,
    ),
)

MAX_INPUTS = 2_000
MAX_BYTES = 8 * 1024 * 1024
"""The limit of all inputs of a set together in UTF-8, and of an uploaded file."""

STARTER_SET = Path("sets") / "starter_set.txt"
STARTER_NAME = "Starter set"
STARTER_DESCRIPTION = "60 varied text-to-video prompts: short and long, plain and hard, in several languages."


@dataclass
class Checked:
    """Distinct inputs in their order, how many repeated ones were left out, and the problems that were found."""

    inputs: list[str] = field(default_factory=list)
    repeated: int = 0
    problems: list[Problem] = field(default_factory=list)


def check(lines: Iterable[Line]) -> Checked:
    """Return the inputs that a set can hold. Never raises: each problem names its line, or line 0 for all inputs."""
    checked = Checked()
    seen: set[str] = set()
    for line in lines:
        # Files that were joined from several contain byte order marks.
        text = line.text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "").strip()
        try:
            clean_input(text)
        except ValidationError as error:
            checked.problems.append(Problem(line.number, " ".join(error.messages), line.file))
            if len(checked.problems) == MAX_PROBLEMS:
                break
            continue
        if text in seen:
            checked.repeated += 1
            continue
        seen.add(text)
        checked.inputs.append(text)
    if checked.problems:
        return checked
    count = len(checked.inputs)
    size = sum(len(text.encode()) for text in checked.inputs)
    if not count:
        checked.problems.append(Problem(0, "There are no inputs yet. Type at least one, or upload a file."))
    elif count > MAX_INPUTS:
        checked.problems.append(
            Problem(0, f"These are {count:,} inputs. A set holds at most {MAX_INPUTS:,}. Make two sets.")
        )
    elif size > MAX_BYTES:
        checked.problems.append(
            Problem(0, f"The inputs are {size:,} bytes. A set holds at most {MAX_BYTES:,} (8 MiB). Make two sets.")
        )
    return checked


@transaction.atomic
def create_set(name: str, inputs: Sequence[str], *, by: Actor, description: str = "") -> PromptSet:
    """Create a set of the distinct inputs. Raises ValidationError for a taken name or invalid inputs."""
    now = timezone.now()
    prompt_set = PromptSet(created_by=by.user, created_by_name=by.name, created_at=now, updated_at=now)
    _fill(prompt_set, name, description, inputs)
    audit.record("prompt_set.created", by=by, object=prompt_set, after=_audit_values(prompt_set))
    return prompt_set


@transaction.atomic
def change_set(
    prompt_set: PromptSet, *, name: str, description: str, inputs: Sequence[str], by: Actor, expected: int
) -> PromptSet:
    """Replace the name, description and inputs of the set. Comparisons keep the inputs that they started with.

    `expected` is the `edition` that the person edited. Raises Stale if the set has another edition now.
    """
    changed = PromptSet.objects.filter(pk=prompt_set.pk, edition=expected).update(edition=F("edition") + 1)
    prompt_set = PromptSet.objects.get(pk=prompt_set.pk)
    if not changed:
        raise Stale(f"Someone changed {prompt_set.name} while you were editing.")
    if prompt_set.archived_at:
        raise Refused(f"{prompt_set.name} is archived. Restore it first.")
    before = _audit_values(prompt_set)
    prompt_set.updated_at = timezone.now()
    _fill(prompt_set, name, description, inputs)
    after = _audit_values(prompt_set)
    if before == after:
        raise Refused("There are no changes to save.")
    audit.record("prompt_set.changed", by=by, object=prompt_set, before=before, after=after)
    return prompt_set


@transaction.atomic
def archive(prompt_set: PromptSet, *, by: Actor) -> None:
    """Hide the set from the lists. Nothing is deleted; comparisons that used the set keep their inputs."""
    rows = PromptSet.objects.filter(pk=prompt_set.pk, archived_at=None)
    if not rows.update(archived_at=timezone.now(), edition=F("edition") + 1):
        raise Stale(f"{prompt_set.name} is already archived.")
    audit.record("prompt_set.archived", by=by, object=prompt_set, before=_audit_values(prompt_set))


@transaction.atomic
def restore(prompt_set: PromptSet, *, by: Actor) -> None:
    """Restore an archived set to the lists."""
    rows = PromptSet.objects.filter(pk=prompt_set.pk, archived_at__isnull=False)
    if not rows.update(archived_at=None, edition=F("edition") + 1):
        raise Stale(f"{prompt_set.name} is not archived.")
    audit.record("prompt_set.restored", by=by, object=prompt_set, after=_audit_values(prompt_set))


@transaction.atomic
def record_download(prompt_set: PromptSet, format: str, *, by: Actor) -> None:
    """Record that a person downloads the inputs. `format` is the ending of the file name."""
    after = {"format": format, "inputs": prompt_set.input_count, "inputs_sha256": prompt_set.inputs_sha256}
    record_export("prompt_set.exported", by=by, object=prompt_set, after=after)


@transaction.atomic
def import_starter_set(folder: Path, *, by: Actor) -> list[str]:
    """Create the "Starter set" from `sets/starter_set.txt` of the folder, one prompt per line, at the first start.

    Does nothing if any set exists. Return a sentence if the file is missing or invalid.
    """
    LiveConfiguration.objects.select_for_update().get(pk=1)
    if PromptSet.objects.exists():
        return []
    try:
        lines = read(decode((folder / STARTER_SET).read_bytes()), Format.LINES).lines
        create_set(STARTER_NAME, [line.text for line in lines], by=by, description=STARTER_DESCRIPTION)
    except OSError as error:
        return [f"{STARTER_SET} was not imported: {error.strerror}."]
    except Unreadable as error:
        return [f"{STARTER_SET} was not imported: {error}"]
    except ValidationError as error:
        return [f"{STARTER_SET} was not imported: {' '.join(error.messages)}"]
    return []


def _fill(prompt_set: PromptSet, name: str, description: str, inputs: Sequence[str]) -> None:
    checked = check(Line(number, text) for number, text in enumerate(inputs, start=1))
    if checked.problems:
        problems = checked.problems[:10]
        messages = [f"Input {each.line}: {each.message}" if each.line else each.message for each in problems]
        raise ValidationError({"inputs": messages})
    prompt_set.name = " ".join(name.split())
    prompt_set.description = description.strip()
    prompt_set.inputs = checked.inputs
    prompt_set.input_count = len(checked.inputs)
    prompt_set.inputs_sha256 = inputs_sha256(checked.inputs)
    prompt_set.full_clean(exclude=["inputs"])
    try:
        with transaction.atomic():
            prompt_set.save()
    except IntegrityError:  # another person took the same name at the same moment
        prompt_set.validate_unique()
        raise


def _audit_values(prompt_set: PromptSet) -> dict[str, object]:
    return {
        "name": prompt_set.name,
        "description": prompt_set.description,
        "inputs": prompt_set.input_count,
        "inputs_sha256": prompt_set.inputs_sha256,
    }
