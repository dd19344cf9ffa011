"""The live document: the snapshot as JSON, for servers that follow it. It holds no keys, only the names of variables.

`live_document` writes a snapshot, `read_live_document` reads it again. A run that is planned from the snapshot that was
read sends the same request as one that is planned from the original. `sha256` is the hash of the document's bytes
without its last member, so the hash of a snapshot in use is that of `live_document(snapshot)`.

The routes and the bytes that PromptOps serves are in `promptops.live`. The meaning of each key is in docs/api.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from promptops.engine.contracts.words import quoted
from promptops.engine.live_document.parts import SNAPSHOT, OfferedOperation
from promptops.engine.live_document.values import InvalidDocument
from promptops.engine.providers.kinds import kind_spec
from promptops.engine.safety.guard import ClassifierSource, ModelSpec, SafetyGuard, SafetyModel
from promptops.engine.snapshot import Lever, ProviderSpec, SafetySpec, Snapshot, TemplateSpec

__all__ = [
    "FORMAT",
    "MAX_BYTES",
    "MAX_PUSHED_BYTES",
    "InvalidDocument",
    "check_sha256",
    "document_bytes",
    "live_document",
    "parse_document",
    "read_live_document",
    "safety_model",
    "with_safety_model",
]

FORMAT = 1
"""Raised when the meaning of a key changes. A new key does not raise it."""

MAX_BYTES = 64 * 1024 * 1024
"""The most bytes of a document. One with 200 templates of 8 KB has 2 MB."""

MAX_PUSHED_BYTES = 256 * 1024
"""The most bytes of a document that comes with the hint of its revision. A server fetches a longer one."""

STORED_KEY = "its key is stored in PromptOps, which hands out no keys. Give the provider the name of a key's variable."
"""The reason why a server that follows cannot call a provider with a stored key."""


def live_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return the document of a snapshot, as JSON data.

    System prompts have their variables filled in. Templates and variables of archived operations are left out. Raises
    `InvalidDocument` if a text is not Unicode or a number is not finite.
    """
    templates = tuple(
        replace(template, body=snapshot.filled(template.operation, template.body))
        for template in snapshot.templates
        if template.operation in snapshot.operations
    )
    names = {(template.operation, template.id): template.name for template in templates}
    offered = tuple(
        OfferedOperation(spec, names.get((name, snapshot.defaults.get(name, 0))))
        for name, spec in snapshot.operations.items()
    )
    known = snapshot.operations
    written = replace(
        snapshot,
        operations=offered,  # type: ignore[arg-type]
        templates=templates,
        variables={name: values for name, values in snapshot.variables.items() if name in known},
        providers=tuple(map(_without_key, snapshot.providers)),
        levers=tuple(lever for lever in snapshot.levers if lever.kind == "freeze" or lever.operation in known),
    )
    document = {"format": FORMAT, **SNAPSHOT.write(written)}
    return {**document, "sha256": _sha256(document)}


def read_live_document(document: Mapping[str, Any], model: ClassifierSource | None = None) -> Snapshot:
    """Return the snapshot in a document. Its filter judges with `model`; without one it can only find terms.

    Raises `InvalidDocument` with a sentence for a document that differs in anything from what PromptOps writes. Then
    `live_document` of the returned snapshot is `document` again.
    """
    if not isinstance(document, Mapping):
        raise InvalidDocument(f"The live document must be an object, not {quoted(document)}.")
    _check_format(document)
    sha256 = check_sha256(document)
    values = SNAPSHOT.values({key: document[key] for key in document if key not in ("format", "sha256")}, "")
    offered: tuple[OfferedOperation, ...] = values["operations"]
    values["operations"] = MappingProxyType({each.spec.name: each.spec for each in offered})
    values["templates"] = tuple(_numbered(*each) for each in enumerate(values["templates"], 1))
    values["providers"] = tuple(replace(each, id=place) for place, each in enumerate(values["providers"], 1))
    values["defaults"] = MappingProxyType(_defaults(offered, values["templates"]))
    snapshot = SNAPSHOT.made(values, "The live document")
    _check_names(snapshot)
    snapshot = with_safety_model(snapshot, model)
    if live_document(snapshot)["sha256"] != sha256:
        raise InvalidDocument("The live document is not in the form that PromptOps writes: its keys or values differ.")
    return snapshot


def check_sha256(document: Mapping[str, Any]) -> str:
    """Return the document's `sha256`. Raises `InvalidDocument` if it is missing, or is not that of all the rest."""
    actual = _sha256({key: value for key, value in document.items() if key != "sha256"})
    named = document.get("sha256")
    if named != actual:
        raise InvalidDocument(
            f"The live document was changed on its way: its sha256 is {actual}, and it names {quoted(named)}. "
            "Fetch it again."
        )
    return actual


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the document as it is sent and stored: JSON without white space, in UTF-8.

    Raises `InvalidDocument` for values that are not JSON, and for texts that are not Unicode.
    """
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidDocument(f"The live document is not JSON in UTF-8 ({type(error).__name__}).") from None


def parse_document(body: bytes) -> dict[str, Any]:
    """Return the document in these bytes, for `read_live_document`. Raises `InvalidDocument`."""
    if len(body) > MAX_BYTES:
        raise InvalidDocument(f"The live document has {len(body):,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        document = json.loads(body.decode(), object_pairs_hook=_with_unique_keys)
    except InvalidDocument:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"The live document is not JSON in UTF-8 ({type(error).__name__}).") from None
    if not isinstance(document, dict):
        raise InvalidDocument(f"The live document must be an object, not {quoted(document)}.")
    return document


def with_safety_model(snapshot: Snapshot, model: ClassifierSource | None) -> Snapshot:
    """Return the snapshot with a filter that judges by its policy with this model."""
    guard = SafetyGuard(model, snapshot.safety.policy)
    return replace(snapshot, safety=replace(snapshot.safety, guard=guard))


def safety_model(safety: SafetySpec, path: Path) -> SafetyModel:
    """Return the model of these settings, from the file at `path`. Its first use loads it and checks its sha256."""
    labels, number, sha256 = safety.model_labels, str(safety.model_number), safety.model_sha256
    return SafetyModel(partial(ModelSpec, path, labels, version=number, sha256=sha256 or "missing"))


def _check_format(document: Mapping[str, Any]) -> None:
    given = document.get("format")
    if type(given) is not int or given != FORMAT:
        raise InvalidDocument(
            f"The live document has the format {quoted(given)}, and this version reads format {FORMAT}. "
            "Install the version of PromptOps that the control room runs."
        )


def _sha256(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(document_bytes(document)).hexdigest()


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise InvalidDocument("The live document has a key twice in one object.")
    return values


def _without_key(provider: ProviderSpec) -> ProviderSpec:
    """Return the provider as another server may use it: with the variable that holds its key, not with the key.

    Instead of a stored key, the vendor's own variable is read, but only for the vendor's own address.
    """
    kind = kind_spec(provider.kind)
    if provider.api_key is None:
        return replace(provider, key_env=provider.key_env or ("" if provider.key_problem else kind.key_env) or None)
    host = urlsplit(provider.base_url).hostname or kind.host
    variable = provider.key_env or (kind.key_env if host == kind.host else "")
    problem = provider.key_problem or (None if variable else STORED_KEY)
    return replace(provider, api_key=None, key_env=variable or None, key_problem=problem)


def _numbered(place: int, template: TemplateSpec) -> TemplateSpec:
    """Return a template that was read, with numbers for its row, and a body in which nothing is filled in again."""
    return replace(template, id=place, version_id=place, body=template.body.replace("{{", r"\{{"))


def _defaults(offered: tuple[OfferedOperation, ...], templates: tuple[TemplateSpec, ...]) -> dict[str, int]:
    ids = {(template.operation, template.name): template.id for template in templates}
    defaults = {}
    for operation, default in ((each.spec.name, each.default) for each in offered):
        if default is not None:
            if (operation, default) not in ids:
                raise InvalidDocument(f"The default template of {operation} is missing: {quoted(default)}.")
            defaults[operation] = ids[operation, default]
    return defaults


def _check_names(snapshot: Snapshot) -> None:
    """Raise `InvalidDocument` if something belongs to an operation that the document does not have."""
    for what, names in (
        ("A template", {template.operation for template in snapshot.templates}),
        ("A variable", set(snapshot.variables)),
        ("A lever", {lever.operation for lever in snapshot.levers if _needs_operation(lever)}),
    ):
        if unknown := sorted(names - set(snapshot.operations)):
            raise InvalidDocument(f"{what} belongs to the operation {quoted(unknown[0])}, which is missing.")


def _needs_operation(lever: Lever) -> bool:
    if lever.kind == "freeze" and lever.operation:
        raise InvalidDocument("A freeze belongs to no operation.")
    return lever.kind != "freeze"
