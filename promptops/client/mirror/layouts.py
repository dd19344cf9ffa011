"""Layouts: which file has the text of which operation. Pure; writing belongs to `files`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from promptops.engine.snapshot import Snapshot

MOST_FILES = 64
FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
MANIFEST = "manifest.json"
STATE = "follow-state.json"
REPLACED = ".replaced"
"""The end of the name of a copy: what somebody else had written into a file that was replaced."""

Layout = Mapping[str, str]
"""The operation of each file, by the file's name."""

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "fastvideo": {
            "enhance.txt": "enhance",
            "auto_extend.txt": "auto_extend",
            "rewrite.txt": "rewrite",
        },
        "dreamverse": {
            "next_segment_system_prompt.md": "next_segment",
            "auto_extension_system_prompt.md": "auto_extension",
            "rewrite_window_system_prompt.md": "rewrite_window",
            "rewrite_user_system_prompt.md": "rewrite_user",
        },
    }
)
"""The layouts with a name. A file's name without its ending is its key in the answer of a reload address."""


class InvalidLayout(ValueError):
    """The layout cannot be used. The message is a sentence."""


class MissingText(Exception):
    """The live configuration has no text for a file of the layout. The message is a sentence."""


@dataclass(frozen=True)
class LiveText:
    """The text of one file, as a model gets it, and the version that it is of."""

    text: str
    operation: str
    template: str
    version: int

    @property
    def data(self) -> bytes:
        """Return the content of the file."""
        return (self.text if self.text.endswith("\n") else self.text + "\n").encode()


def read_layout(entries: Sequence[str]) -> dict[str, str]:
    """Return the layout of entries: names of layouts, and FILE=OPERATION, of which the later one counts.

    Raises `InvalidLayout`.
    """
    layout: dict[str, str] = {}
    for entry in entries:
        name, is_pair, operation = entry.partition("=")
        if not is_pair:
            if entry not in LAYOUTS:
                raise InvalidLayout(f"The layout {entry!r} is unknown. Use {', '.join(LAYOUTS)} or FILE=OPERATION.")
            layout |= LAYOUTS[entry]
            continue
        if not FILE_NAME.fullmatch(name) or name.endswith(REPLACED) or name in (MANIFEST, STATE):
            raise InvalidLayout(
                f"{name!r} cannot be the name of a file. Use letters, digits, dots, dashes and underscores, no folder, "
                f"and neither {MANIFEST} nor {STATE}."
            )
        if not operation:
            raise InvalidLayout(f"{entry!r} names no operation. Write FILE=OPERATION.")
        layout[name] = operation
    if not layout:
        raise InvalidLayout("The layout has no file. Give a name, or FILE=OPERATION.")
    if len(layout) > MOST_FILES:
        raise InvalidLayout(f"The layout has {len(layout)} files. The most are {MOST_FILES}.")
    folded = [name.lower() for name in layout]
    if twice := next((name for name in layout if folded.count(name.lower()) > 1), None):
        raise InvalidLayout(f"{twice!r} and another file have the same name in other case. Rename one of them.")
    return layout


def live_texts(snapshot: Snapshot, layout: Layout) -> dict[str, LiveText]:
    """Return the text of each file. Raises `MissingText`, so that no file is ever empty."""
    texts, missing = {}, []
    for name, operation in layout.items():
        template = snapshot.template_for(operation) if operation in snapshot.operations else None
        text = snapshot.filled(operation, template.body) if template else ""
        if template is None or not text.strip():
            missing.append(operation)
        else:
            texts[name] = LiveText(text, operation, template.name, template.version_number)
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        raise MissingText(
            f"The layout needs live texts of the operations {names}, which this installation does not have: add and "
            f"publish them in PromptOps, or map a file to another operation with FILE=OPERATION."
        )
    return texts


def without_effect(snapshot: Snapshot, layout: Layout, now: datetime) -> str:
    """Return a sentence about a pass-through lever, which no file can have; "" without one."""
    operations = [name for name in dict.fromkeys(layout.values()) if snapshot.passes_through(name, now)]
    if not operations:
        return ""
    return f"Pass-through of {', '.join(operations)} has no effect here: this server reads its texts from files."


def left_out(snapshot: Snapshot, layout: Layout) -> list[str]:
    """Return the operations whose live version has more than a system prompt: files carry only that."""
    found = []
    for operation in dict.fromkeys(layout.values()):
        template = snapshot.template_for(operation)
        if template and (template.user_template or template.examples):
            found.append(operation)
    return found
