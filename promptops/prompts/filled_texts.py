"""The texts of a content as they are sent to the model, in pieces that a page marks. No database here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptops.engine.messages import template_names
from promptops.engine.operations import OperationSpec
from promptops.engine.variables import Piece, filled_bytes, pieces
from promptops.platform.text import MAX_BODY_BYTES
from promptops.prompts.content import SETTINGS
from promptops.prompts.examples import read_examples

SYSTEM_PROMPT = "System prompt"


@dataclass(frozen=True)
class FilledPiece:
    """A stretch of a filled-in text.

    `written` is the length of the piece as it is written, in characters; the editor finds places by it. `state` is
    "known" or "unknown" for a variable, "input" for a name of the input, "stray" for braces that are no variable, and
    "" for plain text. `name` is that of the variable or the input.
    """

    text: str
    written: int
    state: str = ""
    name: str = ""

    @property
    def look(self) -> str:
        """Return the class of the mark around the piece."""
        return {"unknown": "bad", "stray": "bad", "input": "input"}.get(self.state, "")

    @property
    def title(self) -> str:
        """Return what the page says of the piece."""
        titles = {"unknown": "Not declared", "stray": "Not closed, or no name", "input": "From the input"}
        return titles.get(self.state, self.name)


@dataclass(frozen=True)
class FilledText:
    """A text with its label."""

    label: str
    pieces: list[FilledPiece]


def filled_texts(content: Any, values: Mapping[str, str], spec: OperationSpec) -> list[FilledText]:
    """Return the texts of a content as the model gets them, in the order of the messages.

    They are the system prompt, each text of valid examples, and the user template with the names of the input. Long
    variables can make a short text huge: a text that is too long is left out, and its check fails.
    """
    texts = []
    if body := _filled(content.body, values, ()):
        texts.append(FilledText(SYSTEM_PROMPT, body))
    for number, example in enumerate(_examples(content.examples), start=1):
        for text, whose in zip(example, ("user", "assistant"), strict=True):
            texts.append(FilledText(f"Example {number}, {whose}", [FilledPiece(text, len(text))]))
    if content.user_template and (filled := _filled(content.user_template, values, template_names(spec))):
        texts.append(FilledText(SETTINGS["user_template"].label, filled))
    return texts


def _filled(text: str, values: Mapping[str, str], inputs: tuple[str, ...]) -> list[FilledPiece]:
    if filled_bytes(text, values) > MAX_BODY_BYTES:
        return []
    return [_piece(piece, values, inputs) for piece in pieces(text)]


def _piece(piece: Piece, values: Mapping[str, str], inputs: tuple[str, ...]) -> FilledPiece:
    if piece.kind == "variable" and piece.name in inputs:
        return FilledPiece(piece.text, len(piece.text), "input", piece.name)
    states = {"variable": "known" if piece.name in values else "unknown", "stray": "stray"}
    return FilledPiece(piece.filled(values), len(piece.text), states.get(piece.kind, ""), piece.name)


def _examples(text: str | None) -> tuple[tuple[str, str], ...]:
    try:
        return read_examples(text)
    except ValueError:
        return ()  # the failed check says what is wrong
