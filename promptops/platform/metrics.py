"""The registry of this process's metrics, and the metrics of the process itself. Features declare theirs in `metrics`.

Every name begins with `promptops_` and ends with its unit; docs/watch.md lists them all. A scrape reads memory only.
Labels have few values: names that people choose go through `Names`.
"""

import asyncio
import logging
import platform
from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client import Gauge as StoredGauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import promptops
from promptops.platform import background, leases, logs

log = logging.getLogger(__name__)

MOST_NAMES = 100
OTHER = "other"
LAG_SECONDS = 0.5
"""Between two looks at how late the event loop is."""

disable_created_metrics()  # the start of each counter: half as many lines again, which Prometheus does not need
registry = CollectorRegistry()
for standard in (ProcessCollector, PlatformCollector, GCCollector):
    standard(registry=registry)

counter = partial(Counter, registry=registry)
histogram = partial(Histogram, registry=registry)
stored_gauge = partial(StoredGauge, registry=registry)

Sample = tuple[tuple[str, ...], float]
Reader = Callable[[], Iterable[Sample]]


class Names:
    """The values of a label that people choose. The first `MOST_NAMES` keep their names, further ones are "other"."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        """Return the value of the label for a name."""
        if name not in self._known:
            if len(self._known) >= MOST_NAMES:
                return OTHER
            self._known.add(name)
        return name


class Read(Collector):
    """A metric whose values are read at each scrape. One that fails is left out and logged."""

    def __init__(self, family: Callable[..., Metric], name: str, about: str, labels: tuple[str, ...], read: Reader):
        self._family, self._name, self._about, self._labels, self._read = family, name, about, labels, read

    def collect(self) -> Iterable[Metric]:
        """Yield the metric with its values."""
        family = self._family(self._name, self._about, labels=self._labels)
        try:
            for values, value in self._read():
                family.add_metric(values, value)  # type: ignore[attr-defined]
        except Exception:
            log.exception("The metric %s cannot be read.", self._name)
        yield family


def _declare(family: Callable[..., Metric], name: str, about: str, *labels: str) -> Callable[[Reader], Reader]:
    def decorate(read: Reader) -> Reader:
        registry.register(Read(family, name, about, labels, read))
        return read

    return decorate


read_gauge = partial(_declare, GaugeMetricFamily)
"""Declares a gauge that the decorated function reads: `@read_gauge("promptops_x_seconds", "The time ...", "label")`."""
read_counter = partial(_declare, CounterMetricFamily)
"""Declares a counter in the same way. The function returns the total since the start of the process."""

lag = histogram(
    "promptops_event_loop_lag_seconds",
    "How late the event loop was, looked at twice a second",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
build = stored_gauge("promptops_build_info", "The running version; the value is 1", ["version", "python"])
build.labels(promptops.__version__, platform.python_version()).set(1)


@read_gauge("promptops_leases_held", "Leases of the installation that this process holds; the value is 1", "lease")
def _leases() -> Iterable[Sample]:
    return [((name,), 1.0) for name in leases.held()]


@read_counter("promptops_log_lines_total", "Lines that were logged at WARNING or above", "level")
def _lines() -> Iterable[Sample]:
    return [((level,), number) for level, number in logs.counted.items()]


@read_counter(
    "promptops_background_task_errors_total",
    "Background tasks that ended by an error, and hourly chores that failed",
    "task",
)
def _task_errors() -> Iterable[Sample]:
    return [((name,), number) for name, number in background.errors().items()]


@background.task
async def measure_lag() -> None:
    """Measure for ever how late the event loop is."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        lag.observe(max(0.0, loop.time() - due))
