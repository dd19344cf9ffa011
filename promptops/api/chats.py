"""The way from a chat of OpenAI's protocol to a run: its operation, its input and what the caller may lower."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptops.api.problems import Problem
from promptops.engine.live_runs import Input
from promptops.engine.operations import OperationSpec
from promptops.engine.snapshot import Snapshot
from promptops.platform.text import MAX_INPUT_CHARACTERS
from promptops.runs.machines import InvalidRun, Wishes

OWNER = "promptops"
PREFIX = f"{OWNER}/"
MOST_MESSAGES = 1_000
MAX_SYSTEM_CHARACTERS = 32_000

Text = Annotated[str, Field(max_length=2 * MAX_SYSTEM_CHARACTERS)]


class TextPart(BaseModel):
    """A piece of a message. Only texts are taken."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[TextPart], Field(max_length=100)] | None = None

    @property
    def text(self) -> str:
        """Return the text of all parts."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class ChatBody(BaseModel):
    """A chat. Further parameters of OpenAI's protocol are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=100, examples=[f"{PREFIX}enhance"])
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    n: int | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1, le=2_147_483_647)
    max_completion_tokens: int | None = Field(None, ge=1, le=2_147_483_647)
    tools: list[Any] | None = Field(None, max_length=1_000)

    @model_validator(mode="after")
    def _can_be_run(self) -> "ChatBody":
        if self.n not in (None, 1):
            raise ValueError("`n` must be 1: a run has one answer. For alternatives, run `promptops/rewrite`.")
        if self.tools:
            raise ValueError("An operation calls no tools. Leave `tools` out.")
        return self

    @property
    def wants_usage(self) -> bool:
        """Return whether the stream ends with a chunk of token counts."""
        return bool((self.stream_options or {}).get("include_usage"))


def operation_of(snapshot: Snapshot, model: str) -> OperationSpec:
    """Return the operation that a model's name means, with or without the prefix. Raises a problem."""
    spec = snapshot.operations.get(model.removeprefix(PREFIX))
    if spec is None:
        names = ", ".join(f"{PREFIX}{name}" for name in snapshot.operations)
        raise Problem(404, "not-found", f"No operation has this name. The models are {names}.", param="model")
    return spec


def chat_input(spec: OperationSpec, body: ChatBody) -> Input:
    """Return the last user message, or all of them for a list operation. Raises `InvalidRun`."""
    texts = [message.text for message in body.messages if message.role == "user"]
    if not texts:
        raise InvalidRun("messages", "The chat has no user message. Send the input as one")
    if sum(map(len, texts if spec.input_is_list else texts[-1:])) > MAX_INPUT_CHARACTERS:
        raise InvalidRun("messages", f"The input has more than {MAX_INPUT_CHARACTERS:,} characters. Shorten it")
    return texts if spec.input_is_list else texts[-1]


def chat_wishes(spec: OperationSpec, body: ChatBody) -> Wishes:
    """Return what the chat asks for beside its input. Raises `InvalidRun`."""
    limits = [limit for limit in (body.max_tokens, body.max_completion_tokens) if limit is not None]
    return Wishes(
        temperature=body.temperature,
        max_tokens=min(limits, default=None),
        system_prompt=_system_prompt(body) if spec.keeps_system else None,
    )


def _system_prompt(body: ChatBody) -> str | None:
    """Return the caller's own system text; None if there is none."""
    text = "\n\n".join(message.text for message in body.messages if message.role in ("system", "developer"))
    if len(text) > MAX_SYSTEM_CHARACTERS:
        raise InvalidRun("messages", f"The system text has more than {MAX_SYSTEM_CHARACTERS:,} characters. Shorten it")
    return text if text.strip() else None
