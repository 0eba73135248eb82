"""The platform's own instruments in one worker, made of the catalogue."""

import gc
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from skep.metrics.absolute import AbsoluteCounter
from skep.metrics.loop_counters import LoopMetric
from skep.metrics.names import CATALOGUE, MAX_SERIES, Metric

Instrument = Counter | Gauge | Histogram | LoopMetric | AbsoluteCounter

# What every request, message and packet counts, in the event loop and nowhere else.
_OF_THE_LOOP = frozenset(
    (
        "http_requests_total",
        "http_request_duration_seconds",
        "http_request_size_bytes",
        "http_response_size_bytes",
        "worker_requests_total",
        "websocket_messages_total",
        "websocket_message_bytes_total",
        "socket_frames_total",
        "socket_bytes_total",
    )
)


# Task workers run crons too, and commands of the crontab are counted as crons are.
_SOURCES = {"task": ("task", "cron", "worker"), "schedule": ("cron", "worker")}


class InstrumentChildren(dict[tuple[str, ...], Any]):
    """The children of one instrument by their label values, in the catalogue's order.

    Looking one up makes it. Beyond MAX_SERIES the labels that are OPEN read `__other__`.
    """

    def __init__(self, metric: Metric, instrument: Instrument) -> None:
        super().__init__()
        self.metric = metric
        self._instrument = instrument

    def __missing__(self, key: tuple[str, ...]) -> Any:
        """Make the child, or find the one that stands for all that are too many."""
        if len(self) >= MAX_SERIES and (folded := self.metric.folded(key)) != key:
            return self[folded]
        child = self[key] = self._instrument.labels(*key) if key else self._instrument
        for sibling in self.metric.siblings(key):
            if sibling not in self:
                self[sibling] = self._instrument.labels(*sibling)
        return child


class Instruments:
    """What a worker of this pool measures, in a registry of its own.

    The registry must not be the library's default one: an exception in a collector of a plugin
    would hide the platform's metrics. Make it after the fork.
    """

    def __init__(self, registry: CollectorRegistry, pool: str) -> None:
        kind = pool.partition(".")[0]
        self.pool = pool
        self._children = {
            metric.name: InstrumentChildren(metric, _make(metric, registry))
            for metric in CATALOGUE
            if metric.source in _SOURCES.get(kind, (kind, "worker"))
        }
        self.expect()
        self.expect(pool=pool)

    def __contains__(self, name: str) -> bool:
        return name in self._children

    def children(self, name: str) -> InstrumentChildren:
        """Return the children of a metric. Raises KeyError if this worker does not produce it."""
        return self._children[name]

    def child(self, name: str, **labels: str) -> Any:
        """Return the instrument with these labels; `pool` need not be given."""
        children = self._children[name]
        given = {"pool": self.pool, **labels}
        return children[tuple(given[label] for label in children.metric.own_labels)]

    def watch_garbage(self) -> None:
        """Count from now on what Python's garbage collector does in this process."""
        runs = self.children("worker_gc_collections_total")
        seconds = self.child("worker_gc_seconds_total")
        start = 0.0

        def count(phase: str, info: dict[str, int]) -> None:
            nonlocal start
            if phase == "start":
                start = time.perf_counter()
            else:
                seconds.inc(time.perf_counter() - start)
                runs[self.pool, str(info["generation"])].inc()

        gc.callbacks.append(count)

    def expect(self, **given: str) -> None:
        """Show at zero what can be foreseen once these labels are known (`cron="pulse.beat"`).

        Counters and histograms only: of a gauge nothing was measured yet.
        """
        for children in self._children.values():
            if given.keys() <= children.metric.labels.keys():
                for values in children.metric.zeros(given):
                    children[values]


def _make(metric: Metric, registry: CollectorRegistry) -> Instrument:
    if metric.name in _OF_THE_LOOP:
        return LoopMetric(metric, registry)
    if metric.is_absolute:
        return AbsoluteCounter(metric, registry)
    if metric.type == "histogram":
        return Histogram(
            metric.exposed,
            metric.help,
            metric.own_labels,
            registry=registry,
            buckets=metric.buckets,
        )
    kind = Counter if metric.type == "counter" else Gauge
    return kind(metric.exposed, metric.help, metric.own_labels, registry=registry)
