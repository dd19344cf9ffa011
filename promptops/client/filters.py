"""The safety filter of a server: the guard of a live document, and the file of its model.

The model comes with the package or from the control room. Its file is checked by its SHA-256 and kept beside the cache
file. Without the safety extra every text "cannot be judged", and the operators' choice decides.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import logging
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from promptops.client.cache import write_whole
from promptops.engine.judging import OFF
from promptops.engine.live_document import safety_model
from promptops.engine.safety.guard import SHIPPED, ModelSpec, SafetyGuard, SafetyModel
from promptops.engine.snapshot import SafetySpec

log = logging.getLogger(__name__)

MODELS_KEPT = 2


@cache
def can_judge() -> bool:
    """Return whether the packages of the safety extra are installed."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in ("fasttext", "numpy"))
    except (ImportError, ValueError):  # blocked, or half removed
        return False


class Filters:
    """Makes guards. `folder` keeps the model files; without one they live in a temporary folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._models: dict[str, SafetyModel] = {}
        self._warm = ""

    def guarded(self, safety: SafetySpec) -> SafetySpec:
        """Return the filter with its guard. Reads files, and calls nobody."""
        return replace(safety, guard=SafetyGuard(self._model(safety), safety.policy))

    def lacks_file(self, safety: SafetySpec) -> bool:
        """Return whether the model's file has to be fetched."""
        if safety.mode == OFF or not safety.model_sha256 or safety.model_sha256 in self._models:
            return False
        return can_judge() and self._file(safety) is None

    def is_filtered(self, safety: SafetySpec) -> bool:
        """Return whether texts are judged as soon as the operators turn the filter on."""
        return can_judge() and not self.lacks_file(safety)

    async def fetch(self, safety: SafetySpec, download: Callable[[int], Awaitable[bytes]]) -> None:
        """Fetch the model's file and keep it. Raises `ValueError` for another file, and errors of `download`."""
        data = await download(safety.model_number)
        if hashlib.sha256(data).hexdigest() != safety.model_sha256:
            raise ValueError(
                f"The file of safety model {safety.model_number} does not have the SHA-256 of the document."
            )
        await asyncio.to_thread(write_whole, self._path(safety), data)

    def warm_up(self, safety: SafetySpec) -> None:
        """Load the model and test the filter once, so that no run waits for it. Logs what is wrong. Blocks."""
        wanted = f"{safety.model_sha256} {safety.asks_second} {safety.second_threshold}"
        if safety.mode == OFF or safety.model_sha256 not in self._models or wanted == self._warm:
            return
        self._warm = wanted
        second = safety.second.self_test(safety.second_threshold) if safety.asks_second else []
        for problem in safety.guard.self_test() + second:
            log.error("The safety filter fails its self-test: %s.", problem)

    def _model(self, safety: SafetySpec) -> SafetyModel | None:
        if safety.mode == OFF or not safety.model_sha256:
            return None
        model = self._models.pop(safety.model_sha256, None)
        if model is None:
            path = self._file(safety)
            if path is None:
                return SafetyModel(lambda: _missing(safety.model_number))
            model = safety_model(safety, path)
        self._models[safety.model_sha256] = model  # the newest is last
        while len(self._models) > MODELS_KEPT:
            del self._models[next(iter(self._models))]
        return model

    def _file(self, safety: SafetySpec) -> Path | None:
        """Return the file that ships or the kept one, if it has the right SHA-256."""
        return next((path for path in (_shipped(), self._path(safety)) if _sha256(path) == safety.model_sha256), None)

    def _path(self, safety: SafetySpec) -> Path:
        if self._folder is None:
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="promptops-models-")
        return Path(self._folder or self._temporary.name) / f"{safety.model_sha256}.ftz"  # type: ignore[union-attr]


def _missing(number: int) -> ModelSpec:
    raise ValueError(f"the file of model {number} could not be fetched from the control room yet")


def _shipped() -> Path:
    try:
        manifest = json.loads((SHIPPED / "current.json").read_text(encoding="utf-8"))
        return SHIPPED / Path(str(manifest["file"])).name
    except (OSError, ValueError, KeyError, TypeError):
        return SHIPPED / "missing"


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
