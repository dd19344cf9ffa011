"""The file format of a set of templates: `<name>.txt` has the text, `<name>.json` the rest, one sorted key per line.

Reading trusts no file: each refusal names the file and the reason, and all refusals are reported together.
"""

import hashlib
import json
import math
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError

from promptops.ledger.errors import Refused
from promptops.platform.text import MAX_BODY_BYTES, decode_body
from promptops.prompts.content import ORIGINAL, SETTINGS, Content, Setting, lasting
from promptops.texts.inputs import MAX_PROBLEMS

MAX_FILE_BYTES = 4 * MAX_BODY_BYTES
MAX_TOTAL_BYTES = 64 * MAX_FILE_BYTES
MAX_FILES = 2000
KEYS = {"base", "default", "description", "name", "note", "operation", "settings"}
OPTIONAL_KEYS = {"filled"}


class BadSet(Refused):
    """The files cannot be imported. `problems` are sentences, each with the name of its file or template."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Entry:
    """One template of a set.

    `base_version` and `base_sha256` are the version and the state that were live at the export (None and "": nothing).
    `filled`: variables were filled in at the export, so this is not the text that people edit here.
    """

    name: str
    operation: str
    description: str
    default: bool
    content: Content
    note: str
    base_version: int | None = None
    base_sha256: str = ""
    filled: bool = False

    @property
    def state(self) -> dict[str, Any]:
        """Return everything that an import can change."""
        return {
            "operation": self.operation,
            "description": self.description,
            "default": self.default,
            **vars(self.content),
        }


def state_sha256(state: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of an entry's state."""
    canonical = json.dumps(lasting(state), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def render(entry: Entry) -> dict[str, str]:
    """Return the entry's two files by name."""
    content = entry.content
    facts: dict[str, Any] = {
        "base": {"sha256": entry.base_sha256, "version": entry.base_version},
        "default": entry.default,
        "description": entry.description,
        "name": entry.name,
        "note": entry.note,
        "operation": entry.operation,
        "settings": lasting({name: getattr(content, name) for name in SETTINGS}),
    }
    if entry.filled:
        facts["filled"] = True
    return {
        f"{entry.name}.json": json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        f"{entry.name}.txt": content.body + "\n",
    }


def read_folder(folder: Path) -> list[Entry]:
    """Read the set in a folder. Hidden files and other kinds of files, such as README.md, are ignored.

    Raises BadSet, or OSError for a folder that cannot be read.
    """
    files: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    with os.scandir(folder) as listing:
        entries = sorted(
            (entry for entry in listing if not entry.name.startswith(".") and entry.name.endswith((".txt", ".json"))),
            key=lambda entry: entry.name,
        )
    if len(entries) > MAX_FILES:
        raise BadSet([f"The folder holds more than {MAX_FILES:,} files."])
    for entry in entries:
        if entry.is_symlink():
            refused[entry.name] = "is a symbolic link. Use the file itself."
        elif not entry.is_file(follow_symlinks=False):
            refused[entry.name] = "is not a file."
        else:
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                _read(files, entry.name, file)
    return _parse(files, refused)


def read_zip(file: IO[bytes]) -> list[Entry]:
    """Read the set in a zip archive. Raises BadSet."""
    files: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > MAX_FILES:
                raise BadSet([f"The archive holds more than {MAX_FILES:,} files."])
            for info in archive.infolist():
                if info.filename.startswith("__MACOSX/"):  # macOS adds these to each archive
                    continue
                if problem := _zip_problem(info):
                    refused[info.filename] = problem
                elif info.filename in files:
                    refused[info.filename] = "is in the archive twice."
                elif not info.filename.startswith("."):
                    with archive.open(info) as content:
                        _read(files, info.filename, content)
    except BadSet:
        raise
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, OSError, ValueError):
        raise BadSet(["The file is not a readable zip archive. Export it again, or zip the files again."]) from None
    return _parse(files, refused)


def _zip_problem(info: zipfile.ZipInfo) -> str:
    if any(mark in info.filename for mark in ("/", "\\", "\x00")) or ".." in info.filename:
        return "is in a folder. Put all files at the top of the archive."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link. Use the file itself."
    if info.flag_bits & 1:
        return "is encrypted. Zip it without a password."
    if not info.filename.endswith((".txt", ".json")) and not info.filename.startswith("."):
        return "is neither a .txt nor a .json file of a template."
    return ""


def _read(files: dict[str, bytes], name: str, file: IO[bytes]) -> None:
    """Read one file, up to the size that a prompt can have."""
    files[name] = file.read(MAX_FILE_BYTES + 1)
    if sum(map(len, files.values())) > MAX_TOTAL_BYTES:
        raise BadSet([f"The files are larger than {MAX_TOTAL_BYTES // 2**20} MiB together."])


def _parse(files: dict[str, bytes], refused: dict[str, str]) -> list[Entry]:
    entries = []
    problems = [f"{_shown(name)} {reason}" for name, reason in refused.items()]
    refused_names = {name.rpartition(".")[0] for name in refused}
    names = sorted({name.rpartition(".")[0] for name in files})
    for name in names:
        if len(problems) >= MAX_PROBLEMS:
            problems.append(f"{len(problems):,} problems found. The rest was not read. Correct these first.")
            break
        text, facts = f"{name}.txt", f"{name}.json"
        missing = next((file for file in (text, facts) if file not in files), None)
        if missing and name not in refused_names:
            problems.append(
                f"{_shown(missing)} is missing. A template needs a .txt and a .json file with the same name."
            )
        if missing:
            continue
        try:
            entries.append(_entry(name, files[facts], _body(text, files[text])))
        except ValidationError as error:
            problems += error.messages
    if not files and not problems:
        problems.append("No templates found: there are no .txt and .json files.")
    if problems:
        raise BadSet(problems)
    return entries


def _body(file: str, data: bytes) -> str:
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValidationError("The file is too large for a prompt.")
        return decode_body(data)
    except ValidationError as error:
        raise ValidationError(f"{_shown(file)}: {' '.join(error.messages)}") from None


def _entry(name: str, data: bytes, body: str) -> Entry:
    file = _shown(f"{name}.json")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        if repeated := [key for key, count in counts.items() if count > 1]:
            raise ValidationError(f"{file}: {_shown(min(repeated))} occurs twice.")
        return dict(pairs)

    def refuse(word: str) -> Any:
        raise ValidationError(f"{file}: {word} is not a number.")

    if len(data) > MAX_FILE_BYTES:
        raise ValidationError(f"{file} is too large.")
    try:
        facts = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise ValidationError(f"{file} is not JSON in UTF-8.") from None
    _check_keys(file, facts, KEYS, "", OPTIONAL_KEYS)
    _check_keys(file, facts["settings"], set(ORIGINAL), "settings.", SETTINGS)
    settings = {name: setting.empty for name, setting in SETTINGS.items()} | facts["settings"]
    base = facts["base"]
    if base is not None:
        _check_keys(file, base, {"sha256", "version"}, "base.")
    for key in ("name", "operation", "description", "note"):
        _check(file, key, facts[key], isinstance(facts[key], str) and _storable(facts[key]), "must be text")
    _check(file, "name", facts["name"], facts["name"] == name, f"must be {name!r}, the name of the file")
    _check(file, "default", facts["default"], isinstance(facts["default"], bool), "must be true or false")
    filled = facts.get("filled", False)
    _check(file, "filled", filled, isinstance(filled, bool), "must be true or false")
    for key in sorted(SETTINGS):  # before they are cleaned
        fits, wanted = _wanted(SETTINGS[key])
        _check(file, f"settings.{key}", settings[key], fits(settings[key]), wanted)
    values: dict[str, Any] = {each: setting.cleaned(settings[each]) for each, setting in SETTINGS.items()}
    version, sha256 = (base["version"], base["sha256"]) if base else (None, "")
    known = (version is None or type(version) is int) and isinstance(sha256, str)
    _check(file, "base", base, known, "must be the exported value, or null")
    return Entry(
        name=name,
        operation=facts["operation"],
        description=facts["description"].strip(),
        default=facts["default"],
        content=Content(body, **values),
        note=facts["note"].strip(),
        base_version=version,
        base_sha256=sha256,
        filled=filled,
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and _storable(value)


def _is_whole(value: Any) -> bool:
    return value is None or (type(value) is int and abs(value) < 2**31)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def _wanted(setting: Setting) -> tuple[Callable[[Any], bool], str]:
    """Return what a value of the setting has to be: a test, and the end of a sentence."""
    if setting.rows:
        return lambda value: value is None or _is_text(value), "must be text or null"
    if setting.choices:
        return (*setting.choices, None).__contains__, f"must be {', '.join(setting.choices)} or null"
    return _SETTING_TYPES[setting.type]


_SETTING_TYPES: dict[type, tuple[Callable[[Any], bool], str]] = {
    str: (_is_text, "must be text"),
    int: (_is_whole, "must be a whole number or null"),
    float: (_is_number, "must be a number or null"),
}


def _check(file: str, key: str, value: Any, fits: bool, wanted: str) -> None:
    if not fits:
        raise ValidationError(f"{file}: {key} {wanted}, not {_shown(json.dumps(value, ensure_ascii=False))}.")


def _check_keys(file: str, value: Any, keys: set[str], prefix: str, optional: Collection[str] = ()) -> None:
    if not isinstance(value, dict):
        raise ValidationError(f"{file}: {prefix.rstrip('.') or 'the file'} must be an object with {', '.join(keys)}.")
    if unknown := sorted(value.keys() - keys - set(optional)):
        raise ValidationError(f"{file}: {prefix}{_shown(unknown[0])} is unknown. Remove it.")
    if missing := sorted(keys - value.keys()):
        raise ValidationError(f"{file}: {prefix}{missing[0]} is missing.")


def _storable(text: str) -> bool:
    """Return whether databases can store the text: it has no NUL and no half of a surrogate pair."""
    return "\x00" not in text and text.encode(errors="replace").decode() == text


def _shown(name: str) -> str:
    """Return an untrusted name in printable characters, cut to 100."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return shown if len(shown) <= 100 else f"{shown[:100]}…"
