"""The safety filter of this process: turns settings and model versions of the database into guards in memory.

A model's file is the one that ships or comes from the database. fastText reads only files, so the file is cached in
`safety-cache` in VAR_DIR. Every fault makes the model unavailable, with the reason. Changing settings belongs to
actions/filter_settings.py.
"""

import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import connection

from promptops.engine.safety.guard import (
    SHIPPED,
    DenyTerm,
    ModelSpec,
    SafetyCategory,
    SafetyGuard,
    SafetyModel,
    SafetyPolicy,
    spec_of,
)
from promptops.engine.snapshot import SafetySpec
from promptops.runs.enums import SafetyMode
from promptops.safety.enums import SafetyTermKind, WhenUnavailable
from promptops.safety.models import SafetyModelVersion, SafetySettings, SafetyTerm

log = logging.getLogger(__name__)

MAX_MODEL_BYTES = 4 * 1024 * 1024

_lock = threading.Lock()
_models: dict[str, SafetyModel] = {}
MODELS_KEPT = 4
"""Models in memory, the most recently used: the live one, and those that are compared with it."""


def shipped_model() -> tuple[str, dict[str, Any]]:
    """Return the SHA-256 of the model that ships, and the other values of its version except the number."""
    manifest = json.loads((SHIPPED / "current.json").read_text(encoding="utf-8"))
    note = f"The model that PromptOps ships as {manifest['file']}"
    return manifest["sha256"], {"manifest": manifest, "note": note, "user_name": "PromptOps"}


def model_of(version: SafetyModelVersion) -> SafetyModel:
    """Return the version's model, which its first use loads; one per version in this process."""
    with _lock:
        model = _models.pop(version.sha256, None) or SafetyModel(
            partial(_spec, version.pk, version.number, version.sha256, version.manifest)
        )
        _models[version.sha256] = model  # the newest is last
        while len(_models) > MODELS_KEPT:
            del _models[next(iter(_models))]
        return model


def file_of(version: SafetyModelVersion) -> Path:
    """Return the path of the version's file. Raises ValueError with the reason if it is unavailable."""
    return _file(version.pk, version.number, version.sha256, version.manifest)


def forget_models() -> None:
    """Drop the models in memory (for tests)."""
    with _lock:
        _models.clear()


def policy_of(config: SafetySettings, terms: list[SafetyTerm], model: SafetyModelVersion | None = None) -> SafetyPolicy:
    """Return the policy of settings and terms with a model (None: the settings' model)."""
    thresholds = {**(model or config.model).manifest.get("thresholds", {}), **config.thresholds}
    return SafetyPolicy(
        thresholds={SafetyCategory(name): float(value) for name, value in thresholds.items()},
        allow_terms=tuple(term.text for term in terms if term.kind == SafetyTermKind.ALLOW),
        deny_terms=tuple(
            DenyTerm(term.text, SafetyCategory(term.category)) for term in terms if term.kind == SafetyTermKind.DENY
        ),
    )


def load() -> SafetySpec:
    """Return the filter as the database describes it."""
    config = SafetySettings.objects.select_related("model").defer("model__data").get(pk=1)
    model = model_of(config.model)
    try:
        policy = policy_of(config, list(SafetyTerm.objects.all()))
    except (ValueError, TypeError, AttributeError) as error:  # edited by hand; the pages that repair it must work
        model, policy = SafetyModel(partial(_fail, f"its settings are invalid: {error}")), SafetyPolicy()
    return SafetySpec(
        mode=config.mode,
        blocks_when_down=config.when_down == WhenUnavailable.BLOCK,
        blocks_languages=config.when_language == WhenUnavailable.BLOCK,
        expected_languages=tuple(config.expected_languages),
        blocks_expected=config.when_expected == WhenUnavailable.BLOCK,
        policy=policy,
        model_id=config.model_id,
        model_number=config.model.number,
        model_sha256=config.model.sha256,
        model_labels=_labels_of(config.model),
        second_mode=config.second_mode,
        second_scope=config.second_scope,
        second_threshold=config.second_threshold,
        guard=SafetyGuard(model, policy),
    )


def _labels_of(version: SafetyModelVersion) -> Mapping[str, SafetyCategory | None]:
    """Return what the model's labels mean; nothing for a manifest with which no model is loaded either."""
    try:
        return MappingProxyType(dict(spec_of({**version.manifest, "sha256": "", "version": ""}, Path()).labels))
    except ValueError:
        return MappingProxyType({})


def warm_up(spec: SafetySpec) -> None:
    """Load the model and test the filter in a thread, so that no run waits for it; log failures."""
    if spec.mode != SafetyMode.OFF:
        # Not a daemon, so Python waits for it: a thread in the model's C++ code at exit would abort the process.
        threading.Thread(target=_warm_up, args=(spec,), name="safety-warm-up").start()


def _warm_up(spec: SafetySpec) -> None:
    for problem in problems(spec):
        log.error("The safety filter fails its self-test: %s.", problem)


def problems(spec: SafetySpec) -> list[str]:
    """Return what is wrong with both stages, in sentences; nothing of a stage that is off."""
    if spec.mode == SafetyMode.OFF:
        return []
    return spec.guard.self_test() + (spec.second.self_test(spec.second_threshold) if spec.asks_second else [])


def _fail(reason: str) -> ModelSpec:
    raise ValueError(reason)


def _spec(pk: int, number: int, sha256: str, manifest: Mapping[str, Any]) -> ModelSpec:
    """Return the model's file and labels. Raises ValueError with what is wrong."""
    return spec_of({**manifest, "sha256": sha256, "version": number}, _file(pk, number, sha256, manifest))


def _file(pk: int, number: int, sha256: str, manifest: Mapping[str, Any]) -> Path:
    """Return the model's path: the file that ships, or the cached one, which is replaced if its content differs."""
    shipped = SHIPPED / Path(str(manifest.get("file"))).name
    if _sha256(shipped) == sha256:
        return shipped
    cached = settings.VAR_DIR / "safety-cache" / f"{sha256}.ftz"
    if _sha256(cached) != sha256:
        data = _data(pk)
        if not data:
            raise ValueError(f"the file {shipped.name} that ships with PromptOps is missing or has changed")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"the file of version {number} in the database is not the one that its manifest describes")
        _write(cached, data)
    return cached


def _data(pk: int) -> bytes:
    fresh = connection.connection is None
    try:
        return bytes(SafetyModelVersion.objects.filter(pk=pk).values_list("data", flat=True).first() or b"")
    finally:
        if fresh:
            connection.close()  # this thread may not use the database again


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _write(path: Path, data: bytes) -> None:
    """Write the whole file or nothing, because other processes may read it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
