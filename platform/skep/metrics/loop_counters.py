"""Counters and histograms for one thread only, where the client library's locks cost too much.

An HTTP request would pay a twentieth of its CPU for them. These belong to the event loop alone, and
are collected by a registry like any other. Their numbers are in the page of counters.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar

from skep.metrics.counter_page import PAGE, Numbers
from skep.metrics.names import Metric

Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class LoopCounter:
    """A counter of one set of labels."""

    __slots__ = ("_first", "_page")

    def __init__(self, metric: Metric, values: tuple[str, ...]) -> None:
        self._page, self._first = _place(metric, values, "value")

    def inc(self, amount: float = 1.0) -> None:
        self._page.numbers[self._first] += amount

    def get(self) -> float:
        """Return what was counted."""
        value: float = self._page.numbers[self._first]
        return value


class LoopHistogram:
    """A histogram of one set of labels: its sum, then the count of each bucket by itself."""

    __slots__ = ("_bounds", "_exemplars", "_first", "_page")

    def __init__(self, metric: Metric, values: tuple[str, ...]) -> None:
        self._exemplars: dict[int, Exemplar] = {}
        self._bounds = metric.buckets
        self._page, self._first = _place(metric, values, metric.buckets)

    def observe(self, value: float, trace: str = "") -> None:
        """Count a value; with the id of a trace it is the example of its bucket."""
        numbers, first = self._page.numbers, self._first
        if not value:  # no bound is below zero, and most requests have no body
            numbers[first + 1] += 1.0
            return
        bucket = bisect_left(self._bounds, value)
        numbers[first] += value
        numbers[first + 1 + bucket] += 1.0
        if trace:
            self._exemplars[bucket] = Exemplar({"trace_id": trace}, value, time.time())

    def get(self) -> tuple[list[Bucket], float]:
        """Return the upper bounds, +Inf last, with the cumulative counts and examples, and the
        sum."""
        numbers, first = self._page.numbers, self._first
        bounds = (*map(str, self._bounds), "+Inf")
        counts = accumulate(numbers[first + 1 : first + 1 + len(bounds)])
        buckets: list[Bucket] = list(zip(bounds, counts, strict=True))
        for number, exemplar in self._exemplars.items():
            buckets[number] = (*buckets[number][:2], exemplar)
        return buckets, numbers[first]


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
            return self._histograms.setdefault(values, LoopHistogram(self._metric, values))
        return self._counters.setdefault(values, LoopCounter(self._metric, values))

    def describe(self) -> Iterable[Family]:
        return [self._counter() if self._metric.type == "counter" else self._histogram()]

    def collect(self) -> Iterable[Family]:
        if self._metric.type == "counter":
            family = self._counter()
            for values, counter in self._counters.items():
                family.add_metric(values, counter.get())
            return [family]
        histograms = self._histogram()
        for values, histogram in self._histograms.items():
            histograms.add_metric(values, *histogram.get())
        return [histograms]

    def _counter(self) -> CounterMetricFamily:
        metric = self._metric
        return CounterMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)

    def _histogram(self) -> HistogramMetricFamily:
        metric = self._metric
        return HistogramMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)


def _place(
    metric: Metric, values: tuple[str, ...], part: str | tuple[float, ...]
) -> tuple[Numbers, int]:
    family = (metric.exposed, metric.type, metric.help)
    count = 1 if isinstance(part, str) else len(part) + 2
    return PAGE.allocate(family, [metric.own_labels, values, part], count)
