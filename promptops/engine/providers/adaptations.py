"""What a server may want to be asked differently, and what was learned of each from its refusals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Adaptation:
    """One way to ask differently; `label` says it in words for operators."""

    label: str


ADAPTATIONS: Mapping[str, Adaptation] = MappingProxyType(
    {
        "max_completion_tokens": Adaptation("Send max_completion_tokens instead of max_tokens"),
        "max_tokens": Adaptation("Send max_tokens instead of max_completion_tokens"),
        "no_temperature": Adaptation("Leave temperature out"),
        "no_stream_options": Adaptation("Leave stream_options out"),
        "no_response_format": Adaptation("Leave response_format out"),
        "no_reasoning_effort": Adaptation("Leave reasoning_effort out"),
        "system_in_user": Adaptation("Send the system prompt in the first user message"),
    }
)


class Learned:
    """What was learned in this process, by base URL and model. Safe to use from several threads.

    `on_learned` is called with base URL, model, name and the provider's words whenever something new is learned.
    """

    def __init__(self) -> None:
        self.on_learned: Callable[[str, str, str, str], None] | None = None
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], dict[str, str]] = {}

    def get(self, base_url: str, model: str) -> Mapping[str, str]:
        """Return the learned adaptations with the words that each was learned from."""
        with self._lock:
            return dict(self._known.get((base_url, model), {}))

    def learn(self, base_url: str, model: str, name: str, words: str) -> None:
        """Remember one adaptation."""
        with self._lock:
            known = self._known.setdefault((base_url, model), {})
            is_new = name not in known
            known[name] = words
        if is_new and self.on_learned is not None:
            self.on_learned(base_url, model, name, words)

    def forget(self, base_url: str, model: str) -> None:
        """Forget everything about a model at an address."""
        with self._lock:
            self._known.pop((base_url, model), None)

    def restore(self, base_url: str, model: str, mapping: Mapping[str, str]) -> None:
        """Replace what is known by `mapping`, without a call of `on_learned`."""
        with self._lock:
            self._known[base_url, model] = dict(mapping)


learned = Learned()
"""This process's memory."""
