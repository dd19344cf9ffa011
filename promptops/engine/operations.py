"""The operations that a streaming server can request. Everything that depends on an operation is derived from here.

Callers look an operation up by its name with `operation_spec`; no other code compares names. The registry is filled at
import with the built-in operations. Templates and their live versions do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from promptops.engine.answers import AnswerShape
from promptops.engine.types import PromptOperation

DEFAULT_COUNT = 3
"""The number of alternatives to request if the caller names none."""

MAX_NAME_CHARACTERS = 20


@dataclass(frozen=True)
class OperationSpec:
    """One operation.

    `purpose` is one sentence. `input_label` is the label of the input's field, `input_heading` the heading of an input
    that is shown. An input is one prompt, or several, one a line (`input_is_list`). `answer` is the shape of an answer:
    "lines" are alternatives, and `count` is their default number. `keeps_subject` is true if an answer shows the
    subject of its input. `default_text` is the default system prompt, `samples` are example inputs.
    """

    name: str
    purpose: str
    default_text: str
    samples: tuple[str, ...]
    input_label: str = "Viewer's prompt"
    input_heading: str = "Viewer’s prompt"
    input_is_list: bool = False
    answer: AnswerShape = "text"
    count: int | None = None
    keeps_subject: bool = True

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > MAX_NAME_CHARACTERS:
            raise ValueError(f"The name of an operation has 1 to {MAX_NAME_CHARACTERS} characters, not {self.name!r}")
        if self.offers_alternatives != (self.count is not None):
            raise ValueError(f"{self.name} needs a count if it answers in lines, and only then")

    @property
    def offers_alternatives(self) -> bool:
        """Return whether an answer is a list of alternatives instead of one prompt."""
        return self.answer == "lines"

    def count_or_default(self, wanted: int | None = None) -> int | None:
        """Return the number of alternatives to request: `wanted`, or the default. `None` means one prompt."""
        return (wanted or self.count) if self.offers_alternatives else None


_specs: dict[str, OperationSpec] = {}

OPERATIONS: Mapping[str, OperationSpec] = MappingProxyType(_specs)
"""The operations by name, in the order of the pages. A test of a provider runs the first one."""


def register_operation(spec: OperationSpec) -> None:
    """Add an operation. Raises `ValueError` for a name that is taken."""
    if spec.name in _specs:
        raise ValueError(f"The operation {spec.name!r} is already registered")
    _specs[spec.name] = spec


def operation_spec(name: str) -> OperationSpec:
    """Return the operation of that name. Raises `ValueError` for an unknown one."""
    spec = _specs.get(name)
    if spec is None:
        raise ValueError(f"Unknown operation {str(name)!r}; known are {', '.join(_specs)}")
    return spec


def first_operation() -> OperationSpec:
    """Return the operation that a form shows first, and that a test of a provider runs."""
    return next(iter(_specs.values()))


register_operation(
    OperationSpec(
        name=PromptOperation.ENHANCE.value,
        purpose="Polishes what a viewer typed before it reaches the video model.",
        default_text=(
            "You are a prompt enhancer. Rewrite the user's text as a vivid, detailed description of a single cinematic"
            " video shot. Describe the subject and what it does, the setting, the light, the mood and how the camera"
            " moves. Keep everything that the user asked for. Write one paragraph in the present tense, 40 to 80 words,"
            " and nothing else."
        ),
        samples=(
            "a fox running through snow",
            "two old friends share an umbrella at a tram stop",
            "a lighthouse in a storm, seen from a small boat",
        ),
    )
)
register_operation(
    OperationSpec(
        name=PromptOperation.AUTO_EXTEND.value,
        purpose="Invents the next prompt from the ones that came before.",
        default_text=(
            "You are a video continuation assistant. The user gives the prompts of a video so far, one a line, oldest"
            " first. Write the prompt of the next shot: the same subject, place and style, and one new thing that"
            " follows naturally, so that the story moves on without a jump. Describe what can be seen, in the present"
            " tense, in 40 to 80 words. Answer with the prompt alone."
        ),
        samples=(
            "A fox trots along a frozen creek at dawn.\nThe fox stops and listens, one paw raised.",
            "A baker slides a tray into the oven.\nFlour hangs in the morning light.\nThe shop bell rings.",
        ),
        input_label="Prior prompts, one per line",
        input_heading="Prompts so far",
        input_is_list=True,
        keeps_subject=False,
    )
)
register_operation(
    OperationSpec(
        name=PromptOperation.REWRITE.value,
        purpose="Offers alternatives to a prompt.",
        default_text=(
            "You are a prompt rewriter for a text-to-video model. Offer alternatives to the user's prompt: the same"
            " subject and intent, each with another setting, light, camera or mood, each a complete prompt of at most"
            " 60 words. Write one alternative a line, without numbers, titles or remarks."
        ),
        samples=("a fox running through snow", "a city street at night in the rain"),
        answer="lines",
        count=DEFAULT_COUNT,
    )
)
