"""Counters and histograms for one thread only, where the client library's locks cost too much.

An HTTP request would pay a twentieth of its CPU for them. These belong to the event loop alone, and
are collected by a registry like any other.
"""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from skep.metrics.names import Metric


class LoopCounter:
    """A counter of one set of labels; add to `count`."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class LoopHistogram:
    """A histogram of one set of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper bounds and the cumulative counts, +Inf's last."""
        below, cumulative = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            below += count
            cumulative.append((str(bound) if bound != float("inf") else "+Inf", float(below)))
        return cumulative


class LoopMetric:
    """A metric of the catalogue, kept for one thread."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._counters: dict[tuple[str, ...], LoopCounter] = {}
        self._histograms: dict[tuple[str, ...], LoopHistogram] = {}
        registry.register(self)

    def labels(self, *values: str) -> LoopCounter | LoopHistogram:
        """Return the counter of these values, in the order of the metric's labels."""
        if self._metric.type == "histogram":
            made = LoopHistogram(self._metric.buckets)
            return self._histograms.setdefault(values, made)
        return self._counters.setdefault(values, LoopCounter())

    def describe(self) -> Iterable[Family]:
        return [self._counter() if self._metric.type == "counter" else self._histogram()]

    def collect(self) -> Iterable[Family]:
        if self._metric.type == "counter":
            family = self._counter()
            for values, counter in self._counters.items():
                family.add_metric(values, counter.count)
            return [family]
        histograms = self._histogram()
        for values, histogram in self._histograms.items():
            histograms.add_metric(values, histogram.buckets(), histogram.total)
        return [histograms]

    def _counter(self) -> CounterMetricFamily:
        metric = self._metric
        return CounterMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)

    def _histogram(self) -> HistogramMetricFamily:
        metric = self._metric
        return HistogramMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)
