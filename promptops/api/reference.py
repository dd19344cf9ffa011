"""The OpenAPI document in the form in which the API page shows it, with examples for this installation's address."""

import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Examples:
    """The names of live objects that the examples use, so that the examples work here."""

    template: str = "enhance"
    version: int = 1
    operation: str = "enhance"
    revision: int = 1
    model: int = 1

    def in_path(self, name: str, path: str) -> str:
        """Return the value of a parameter in a path. Unknown ones have 1."""
        if "/safety/models/" in path:
            return str(self.model)
        values = {"name": self.template, "operation": self.operation, "number": self.version, "revision": self.revision}
        return str(values.get(name, 1))

    def in_body(self, body: Any) -> Any:
        """Return an example of a body with the versions of what is live."""
        if not isinstance(body, dict):
            return body
        values = {"expected": self.version, "version": max(1, self.version - 1), "revision": None}
        return {name: values.get(name, value) for name, value in body.items()}


SHOWN_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body or an answer."""

    name: str
    where: str
    kind: str
    is_required: bool
    description: str


@dataclass(frozen=True)
class Answer:
    """An answer: its status, and the names of its problems if it is one."""

    status: str
    description: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Operation:
    """A route with one method."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    scopes: tuple[str, ...]
    parameters: list[Field]
    body: list[Field]
    result: list[Field]
    answers: list[Answer]
    curl: str
    python: str


@dataclass(frozen=True)
class Group:
    """The operations of a tag."""

    name: str
    description: str
    operations: list[Operation]


def groups(document: dict[str, Any], address: str, examples: Examples) -> list[Group]:
    """Return the operations by tag, in the document's order."""
    by_tag: dict[str, list[Operation]] = {tag["name"]: [] for tag in document.get("tags", [])}
    for path, methods in document["paths"].items():
        for method in SHOWN_METHODS:
            if method in methods:
                for tag in methods[method].get("tags", ["Other"]):
                    by_tag.setdefault(tag, []).append(
                        _operation(document, path, method, methods[method], address, examples)
                    )
    words = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    return [Group(name, words.get(name, ""), operations) for name, operations in by_tag.items() if operations]


def _operation(
    document: dict[str, Any], path: str, method: str, facts: dict[str, Any], address: str, examples: Examples
) -> Operation:
    parameters = [
        Field(
            each["name"],
            each["in"],
            _kind(document, each["schema"]),
            each.get("required", False),
            each.get("description", ""),
        )
        for each in facts.get("parameters", [])
    ]
    schema = _schema(facts.get("requestBody"))
    example = examples.in_body(_example(document, schema)) if schema else None
    url = address + _filled(path, examples)
    is_file = "application/octet-stream" in facts["responses"].get("200", {}).get("content", {})
    return Operation(
        id=facts["operationId"],
        method=method.upper(),
        path=path,
        summary=facts.get("summary", ""),
        description=facts.get("description", ""),
        scopes=tuple(facts.get("x-scopes", ())),
        parameters=parameters,
        body=_fields(document, schema),
        result=_fields(document, _schema(facts["responses"].get("200"))),
        answers=[_answer(status, answer) for status, answer in sorted(facts["responses"].items())],
        curl=_curl(method, url, "x-scopes" in facts, example, is_file),
        python=_python(method, url, "x-scopes" in facts, example, is_file),
    )


def _answer(status: str, facts: dict[str, Any]) -> Answer:
    return Answer(status, facts.get("description", ""), tuple(facts.get("x-problems", ())))


def _schema(facts: dict[str, Any] | None) -> dict[str, Any]:
    content = (facts or {}).get("content", {})
    return dict(content.get("application/json", {}).get("schema", {}))


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return schema


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[Field]:
    resolved = _resolved(document, schema)
    required = resolved.get("required", [])
    return [
        Field(name, "body", _kind(document, each), name in required, each.get("description", ""))
        for name, each in resolved.get("properties", {}).items()
    ]


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return the kind of a value in words, such as "integer or null"."""
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(document, each) for each in choices))
    if "$ref" in schema:
        resolved = _resolved(document, schema)
        return " or ".join(resolved["enum"]) if "enum" in resolved else str(resolved.get("type", "value"))
    if schema.get("type") == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    return str(schema.get("type", "any value"))


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    resolved = _resolved(document, schema)
    if examples := resolved.get("examples"):
        return examples[0]
    if "default" in resolved:
        return resolved["default"]
    if "enum" in resolved:
        return resolved["enum"][0]
    match resolved.get("type"):
        case "object":
            required = resolved.get("required", [])
            values = resolved.get("properties", {})
            return {name: _example(document, values[name]) for name in required if name in values}
        case "array":
            return [_example(document, resolved.get("items", {}))]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return "a fox in the snow"


def _filled(path: str, examples: Examples) -> str:
    parts = []
    for part in path.split("{"):
        name, closed, rest = part.partition("}")
        parts.append(quote(examples.in_path(name.partition(":")[0], path)) + rest if closed else part)
    return "".join(parts)


def _curl(method: str, url: str, is_guarded: bool, body: Any, is_file: bool) -> str:
    lines = [f"curl {shlex.quote(url)}" if method == "get" else f"curl -X {method.upper()} {shlex.quote(url)}"]
    if is_guarded:
        lines.append('-H "Authorization: Bearer $PROMPTOPS_TOKEN"')
    if body is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    if is_file:
        lines.append("-o model.bin")
    return " \\\n  ".join(lines)


def _python(method: str, url: str, is_guarded: bool, body: Any, is_file: bool) -> str:
    arguments = [f"    {url!r},"]
    if is_guarded:
        arguments.append('    headers={"Authorization": f"Bearer {os.environ[\'PROMPTOPS_TOKEN\']}"},')
    if body is not None:
        arguments.append(f"    json={body!r},")
    call = "\n".join([f"answer = httpx.{method}(", *arguments, ")"])
    result = 'open("model.bin", "wb").write(answer.content)' if is_file else "print(answer.json())"
    return f"import os\n\nimport httpx\n\n{call}\nanswer.raise_for_status()\n{result}"
