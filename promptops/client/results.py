"""The results of runs on a server, and their errors."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from promptops.engine.answers import parse_alternatives
from promptops.engine.errors import LLMProviderError
from promptops.engine.judging import SafetyChecked
from promptops.engine.types import LLMResponse

CurateStatus: TypeAlias = Literal["succeeded", "unchanged", "blocked", "failed"]


@dataclass(frozen=True)
class LiveResponse(LLMResponse):
    """The answer of a run, and which content it came from.

    `revision`, `epoch` and `sha256` name the live configuration by its document; `template`, `version` and
    `version_sha256` name the text. `unchanged` means that `content` is the input, because nobody answered or a lever
    says so; `note` is the sentence that says why, and `provider` is "" then. `checks` are the safety filter's verdicts.
    """

    operation: str = ""
    template: str = ""
    version: int = 0
    version_sha256: str = ""
    revision: int = 0
    epoch: str = ""
    sha256: str = ""
    unchanged: bool = False
    note: str = field(default="", compare=False)
    checks: tuple[SafetyChecked, ...] = field(default=(), compare=False, repr=False)
    count: int | None = field(default=None, compare=False)

    @property
    def alternatives(self) -> list[str]:
        """Return the alternatives of an operation that offers them; otherwise the answer alone."""
        return [self.content] if self.count is None or self.unchanged else parse_alternatives(self.content, self.count)


ANSWER_FIELDS = tuple(each.name for each in fields(LLMResponse))


class BlockedText(Exception):
    """The safety filter withholds the input or the answer. The message is a sentence that does not quote the text.

    It is no `LLMProviderError`: a caller that goes on with its input after a provider's error must not do so here.
    """

    def __init__(self, message: str, checks: tuple[SafetyChecked, ...]) -> None:
        super().__init__(message)
        self.checks = checks

    @property
    def side(self) -> str:
        """Return "input" or "output"."""
        return self.checks[-1].side


class KeepRunning(LLMProviderError):
    """Nobody answered, and the operators chose to keep what runs."""


@dataclass(frozen=True)
class CuratedPrompt:
    """The result of one prompt of a session's start. `response` is `None` if it was blocked or failed."""

    prompt: str
    status: CurateStatus
    response: LiveResponse | None = None
    error: str = ""


@dataclass(frozen=True)
class Curation:
    """One result for each prompt, in order."""

    results: tuple[CuratedPrompt, ...]

    @property
    def first_blocked(self) -> CuratedPrompt | None:
        """Return the first prompt that the safety filter blocked, or `None`."""
        return next((result for result in self.results if result.status == "blocked"), None)
