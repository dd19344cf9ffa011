"""The metrics of the health of the live providers, as the runs of this process have found it."""

from collections.abc import Iterable, Iterator
from typing import get_args

from promptops.engine.breaker import State
from promptops.engine.health import HealthView
from promptops.live import snapshots
from promptops.platform import metrics
from promptops.platform.metrics import Sample


def _views() -> Iterator[tuple[str, HealthView]]:
    """Yield the first providers of the chain, by name."""
    snapshot = snapshots.loaded_snapshot()
    for provider in snapshot.providers[: metrics.MOST_NAMES] if snapshot else ():
        yield provider.name, snapshots.health.view(provider.name)


@metrics.read_gauge(
    "promptops_provider_breaker_state", "1 for the state of the circuit breaker, else 0", "provider", "state"
)
def _breakers() -> Iterable[Sample]:
    return [((name, state), float(view.state == state)) for name, view in _views() for state in get_args(State)]


@metrics.read_gauge("promptops_provider_cooldown_seconds", "Time for which runs still avoid the provider", "provider")
def _cooldowns() -> Iterable[Sample]:
    return [((name,), view.cooldown_left_ms / 1000) for name, view in _views()]


@metrics.read_gauge(
    "promptops_provider_misconfigured", "1 if the key, the model or the credit of the provider is wrong", "provider"
)
def _misconfigured() -> Iterable[Sample]:
    return [((name,), float(view.misconfigured)) for name, view in _views()]


@metrics.read_gauge("promptops_provider_calls_in_progress", "Calls in progress", "provider")
def _in_progress() -> Iterable[Sample]:
    return [((name,), view.in_flight) for name, view in _views()]
