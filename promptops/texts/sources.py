"""Finding prompts in files of others: plain text, Markdown, JSON, Python. Nothing of a file is ever executed. Pure."""

import ast
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

MAX_CANDIDATES = 200
"""The most prompts that one file may hold."""

SHORT_CHARACTERS = 40
"""A string of a JSON or Python file that is shorter is offered, but not chosen: it is rarely a prompt."""

MAX_NAME_CHARACTERS = 60
TEXT_SUFFIXES = (".txt", ".md")
SUFFIXES = (*TEXT_SUFFIXES, ".json", ".py")


class UnreadableSource(Exception):
    """The file holds no prompts, or cannot be read. The message is a sentence for people."""


@dataclass(frozen=True)
class Placeholder:
    """A place that another tool fills in, as it is `written` there. `variable` is its name among our variables."""

    written: str
    variable: str
    count: int


@dataclass(frozen=True)
class Invisible:
    """A character that cannot be seen, with its Unicode name and the number of its occurrences."""

    character: str
    count: int

    @property
    def name(self) -> str:
        """Return its name, such as "zero width space (U+200B)"."""
        name = unicodedata.name(self.character, "control character").lower()
        return f"{name} (U+{ord(self.character):04X})"


@dataclass(frozen=True)
class Candidate:
    """One text that was found. `label` says where in the file; `changes` are sentences about what reading changed."""

    file: str
    label: str
    text: str
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return a name for its template, made of the label, or of the file's name if the file is one prompt."""
        return template_name(self.label or PurePath(self.file).stem)

    @property
    def is_short(self) -> bool:
        """Return whether it is probably no prompt."""
        return bool(self.label) and len(self.text.strip()) < SHORT_CHARACTERS

    @property
    def invisible(self) -> list[Invisible]:
        """Return the invisible characters of the text, in the order of their first use."""
        return invisible(self.text)

    @property
    def placeholders(self) -> list[Placeholder]:
        """Return the placeholders of other tools in the text, in the order of their first use."""
        return placeholders(self.text)


def template_name(text: str) -> str:
    """Return `text` as the name of a template: lower-case letters, digits and hyphens. It is "prompt" if none is left.

    The end of a long name is kept, because the beginning of a path says less.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    return "-".join(words)[-MAX_NAME_CHARACTERS:].strip("-") or "prompt"


def read(file: str, data: bytes) -> list[Candidate]:
    """Return the prompts in a file, in their order. A suffix that is not known is read as plain text.

    Raises UnreadableSource.
    """
    suffix = PurePath(file).suffix.lower()
    if suffix == ".py":
        found = _python(data, file)
    else:
        text, changes = _decoded(data, file)
        found = _json(text, file) if suffix == ".json" else iter([("", text)])
    candidates = []
    for label, text in found:
        if text.strip():
            candidates.append(_candidate(file, label, text, changes if suffix != ".py" else ()))
        if len(candidates) > MAX_CANDIDATES:
            raise UnreadableSource(f"{file} holds more than {MAX_CANDIDATES} texts. Split it into several files.")
    if not candidates:
        raise UnreadableSource(f"{file} holds no text." if suffix in TEXT_SUFFIXES else f"{file} holds no strings.")
    return candidates


def _candidate(file: str, label: str, text: str, changes: tuple[str, ...]) -> Candidate:
    if "\r" in text:
        changes += (f"{_count(text.count(chr(13)), 'line end')} of Windows became plain.",)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not label and (assigned := _unwrapped(text)):
        name, text = assigned
        changes += (f"The outer {name} = … was removed.",)
    stripped = text.strip()
    if removed := len(text) - len(stripped):
        changes += (f"{_count(removed, 'blank character')} at the ends {'was' if removed == 1 else 'were'} removed.",)
    return Candidate(file, label, stripped, changes)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _decoded(data: bytes, file: str) -> tuple[str, tuple[str, ...]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableSource(
            f"{file} is not UTF-8: byte {error.start + 1} cannot be read. Save it as UTF-8 and try again."
        ) from None
    return text, ("The byte order mark was removed.",) if data.startswith(b"\xef\xbb\xbf") else ()


_WRAPPED = re.compile(
    r'\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<prefix>[rRuU]?)(?P<quotes>"""|\'\'\')(?P<text>.*)(?P=quotes)\s*', re.DOTALL
)


def _unwrapped(text: str) -> tuple[str, str] | None:
    """Return name and text of `NAME = \"\"\"text\"\"\"`, where the whole file is one such assignment."""
    match = _WRAPPED.fullmatch(text)
    if match is None or match["quotes"] in match["text"]:
        return None
    quotes = match["quotes"]
    try:
        value = ast.literal_eval(f"{match['prefix']}{quotes}{match['text']}{quotes}")
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # the text has backslashes that Python refuses
        value = match["text"]
    return match["name"], value if isinstance(value, str) else match["text"]


def _json(text: str, file: str) -> Iterator[tuple[str, str]]:
    try:
        # Pairs, so that a key that is there twice is offered twice.
        document = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableSource(f"{file} is not valid JSON{where}.") from None
    yield from _strings("", document)


class _Pairs(list[tuple[str, object]]):
    """A JSON object as pairs."""


def _strings(label: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield label and text of each string in a JSON value. A chat message is labeled by its role."""
    waiting: list[tuple[str, object]] = [(label, value)]
    while waiting:
        label, value = waiting.pop()
        if isinstance(value, str):
            yield label, value
        elif isinstance(value, _Pairs):
            role = dict(value).get("role")
            named = [(key, each) for key, each in value if not (key == "role" and isinstance(role, str))]
            if isinstance(role, str) and len(named) == 1:
                named = [(role, named[0][1])]
            waiting.extend((f"{label} {key}".strip(), each) for key, each in reversed(named))
        elif isinstance(value, list):
            numbered = list(enumerate(value, 1))
            waiting.extend((f"{label} {number}".strip(), each) for number, each in reversed(numbered))


def _python(data: bytes, file: str) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(data)
    except SyntaxError as error:
        where = f" in line {error.lineno}" if error.lineno else ""
        raise UnreadableSource(f"{file} is not valid Python{where}.") from None
    except (ValueError, RecursionError, MemoryError):
        raise UnreadableSource(f"{file} cannot be read as Python.") from None
    waiting: list[ast.stmt] = list(reversed(tree.body))
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from _values(_target(target), statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from _values(_target(statement.target), statement.value)
        for block in ("finalbody", "orelse", "body"):
            waiting.extend(reversed(getattr(statement, block, [])))


def _target(target: ast.expr) -> str:
    return target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""


def _values(label: str, value: ast.expr) -> Iterator[tuple[str, str]]:
    """Yield label and text of each string in an assigned value: itself, or those of a dictionary, list or tuple."""
    waiting: list[tuple[str, ast.expr]] = [(label, value)]
    while waiting:
        label, node = waiting.pop()
        text = _text(node)
        if text is not None:
            yield label, text
        elif isinstance(node, ast.Dict):
            pairs = [(_key(key), each) for key, each in zip(node.keys, node.values, strict=True)]
            waiting.extend((f"{label} {key}".strip(), each) for key, each in reversed(pairs))
        elif isinstance(node, ast.List | ast.Tuple):
            waiting.extend(
                (f"{label} {number}".strip(), each) for number, each in reversed(list(enumerate(node.elts, 1)))
            )


def _key(key: ast.expr | None) -> str:
    return str(key.value) if isinstance(key, ast.Constant) else ""


def _text(node: ast.expr) -> str | None:
    """Return the text of a string, of strings that are joined with +, or of an f-string, else None.

    An f-string's places are written as `{expression}`. `.strip()` and its like do not matter, as ends are stripped.
    """
    parts: list[str] = []
    waiting: list[ast.expr] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(part.value)
        elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            waiting.extend((part.right, part.left))
        elif isinstance(part, ast.JoinedStr):
            waiting.extend(reversed(part.values))
        elif isinstance(part, ast.FormattedValue) and isinstance(node, ast.JoinedStr | ast.BinOp):
            parts.append(f"{{{ast.unparse(part.value)}}}")
        elif stripped := _stripped(part):
            waiting.append(stripped)
        else:
            return None
    return "".join(parts)


def _stripped(node: ast.expr) -> ast.expr | None:
    """Return `text` of `text.strip()`, or None for anything else."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or node.args or node.keywords:
        return None
    return node.func.value if node.func.attr in ("strip", "lstrip", "rstrip") else None


_SHOWN = "\n\t"
_PLACEHOLDER = re.compile(
    r"\{\{#(?P<dify>[^{}#\n]{1,80})#\}\}"
    r"|(?<!\{)\{(?P<format>[A-Za-z_][A-Za-z0-9_]{0,39}|\d{0,2})\}(?!\})"
    r"|%\((?P<percent>[A-Za-z_][A-Za-z0-9_]{0,39})\)s"
    r"|(?<![%\w])%(?P<s>s)\b"
    r"|\$\{(?P<shell>[A-Za-z_][A-Za-z0-9_]{0,39})\}"
)


def invisible(text: str) -> list[Invisible]:
    """Return the characters that cannot be seen (Unicode categories Cc and Cf), except line ends and tabs."""
    counts = Counter(each for each in text if each not in _SHOWN and unicodedata.category(each) in ("Cc", "Cf"))
    return [Invisible(character, count) for character, count in counts.items()]


def without_invisible(text: str) -> str:
    """Return the text without its invisible characters."""
    return text.translate({ord(each.character): None for each in invisible(text)})


def placeholders(text: str) -> list[Placeholder]:
    """Return the placeholders of other tools: `{}`, `{input}`, `%s`, `%(name)s`, `${name}` and `{{#node.name#}}`."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for match in _PLACEHOLDER.finditer(text):
        counts[match[0]] += 1
        names[match[0]] = _variable(match)
    return [Placeholder(written, names[written], count) for written, count in counts.items()]


def _variable(match: re.Match[str]) -> str:
    """Return the name of our variable for a placeholder; "input" where it has no name."""
    name = match["dify"] or match["format"] or match["percent"] or match["shell"] or ""
    plain = re.sub(r"[^a-z0-9]+", "_", name.rpartition(".")[2].lower()).strip("_")
    return plain[:40] if plain and plain[0].isalpha() else f"input_{plain}" if plain.isdecimal() else "input"


def with_variables(text: str, chosen: set[str]) -> str:
    """Return the text with each placeholder that is in `chosen`, as it is written, replaced by `{{ name }}`."""

    def replaced(match: re.Match[str]) -> str:
        return f"{{{{ {_variable(match)} }}}}" if match[0] in chosen else match[0]

    return _PLACEHOLDER.sub(replaced, text)
