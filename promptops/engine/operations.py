"""The declaration of an operation, and the registry of the built-in operations for use without PromptOps' pages.

The registry is filled at import; `PromptEnhancer` reads it. PromptOps itself stores its operations in the database and
reads them from the snapshot (`Snapshot.operations`). No code compares their names. Templates do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from promptops.engine.answers import AnswerShape
from promptops.engine.contracts import Contract
from promptops.engine.events import HedgePolicy
from promptops.engine.types import PromptOperation

InputKind: TypeAlias = Literal["text", "list", "fields"]
"""The form of an input: one prompt, several prompts (one a line), or named fields (one JSON object)."""

OnFailure: TypeAlias = Literal["error", "input", "hold"]
"""What happens when nobody answers: an error, the input unchanged, or an error that says to keep what runs."""

DEFAULT_COUNT = 3
"""The number of alternatives to request if the caller names none."""

MAX_NAME_CHARACTERS = 40


@dataclass(frozen=True)
class InputField:
    """One field of an input. `max_characters` is `None` without a limit of its own."""

    name: str
    description: str = ""
    required: bool = True
    max_characters: int | None = None


@dataclass(frozen=True)
class OperationSpec:
    """One operation.

    `purpose` is one sentence. `input_label` is the label of the input's field, `input_heading` the heading of an input
    that is shown. `fields` are those of an input of named fields. `answer` is the kind of an answer: "lines" are
    alternatives, and `count` is their default number. `keeps_subject` is true if an answer shows the subject of its
    input. `default_text` is the default system prompt, `samples` are example inputs; only built-in operations have
    these two.

    `timeout_ms`, `max_tokens` and `hedge` ("" for never, "p95", or milliseconds) belong to this operation; `None`
    leaves the first two to the settings. `keeps_system` is true if a caller's own system text is kept. `contract` is
    what an answer must be; without one nothing is checked.
    """

    name: str
    purpose: str
    default_text: str = ""
    samples: tuple[str, ...] = ()
    input_label: str = "Viewer's prompt"
    input_heading: str = "Viewer’s prompt"
    input: InputKind = "text"
    answer: AnswerShape | Literal["json"] = "text"
    count: int | None = None
    keeps_subject: bool = True
    fields: tuple[InputField, ...] = ()
    timeout_ms: int | None = None
    max_tokens: int | None = None
    hedge: str = ""
    on_failure: OnFailure = "error"
    keeps_system: bool = False
    contract: Contract | None = None

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > MAX_NAME_CHARACTERS:
            raise ValueError(f"The name of an operation has 1 to {MAX_NAME_CHARACTERS} characters, not {self.name!r}")
        if self.offers_alternatives != (self.count is not None):
            raise ValueError(f"{self.name} needs a count if it answers in lines, and only then")
        if (self.input == "fields") != bool(self.fields):
            raise ValueError(f"{self.name} needs fields if its input is made of fields, and only then")
        if self.on_failure == "input" and self.input != "text":
            raise ValueError(f"{self.name} can pass its input on only if the input is one text")
        if self.contract is not None and self.contract.kind != self.answer:
            raise ValueError(
                f"{self.name} answers with {self.answer}, and its contract is of the kind {self.contract.kind}"
            )

    @property
    def input_is_list(self) -> bool:
        """Return whether an input is several prompts, one a line."""
        return self.input == "list"

    @property
    def can_pass_through(self) -> bool:
        """Return whether an input can go on in place of its answer: it is one text, and the answer is no JSON."""
        return self.input == "text" and self.answer != "json"

    @property
    def offers_alternatives(self) -> bool:
        """Return whether an answer is a list of alternatives instead of one prompt."""
        return self.answer == "lines"

    @property
    def hedge_policy(self) -> HedgePolicy | None:
        """Return when the next provider is called too; `None` for never."""
        if not self.hedge:
            return None
        return HedgePolicy(delay_ms=None if self.hedge == "p95" else int(self.hedge))

    def count_or_default(self, wanted: int | None = None) -> int | None:
        """Return the number of alternatives to request: `wanted`, or the default. `None` means one prompt."""
        return (wanted or self.count) if self.offers_alternatives else None


_specs: dict[str, OperationSpec] = {}

OPERATIONS: Mapping[str, OperationSpec] = MappingProxyType(_specs)
"""The built-in operations by name, in the order of the pages."""


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
        input="list",
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
