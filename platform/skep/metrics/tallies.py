"""Counters and histograms for one thread only, where the client library's locks cost too much.

A request of HTTP would pay a twentieth of its CPU for them. These are of the event loop alone, and
show themselves to a registry as any other collector does.
"""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from skep.metrics.names import Metric


class Tally:
    """A counter of one set of labels: to count is to add to `count`."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Distribution:
    """A histogram of one set of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value into its bucket."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper bounds and the cumulative counts, +Inf's last."""
        below, cumulative = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            below += count
            cumulative.append((str(bound) if bound != float("inf") else "+Inf", float(below)))
        return cumulative


class Tallies:
    """A metric of the catalogue, a counter or a histogram, kept as tallies."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._tallies: dict[tuple[str, ...], Tally] = {}
        self._distributions: dict[tuple[str, ...], Distribution] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally | Distribution:
        """Return the tally of these values, in the order of the metric's labels."""
        if self._metric.type == "histogram":
            made = Distribution(self._metric.buckets)
            return self._distributions.setdefault(values, made)
        return self._tallies.setdefault(values, Tally())

    def describe(self) -> Iterable[Family]:
        """Return the family without samples."""
        return [self._counter() if self._metric.type == "counter" else self._histogram()]

    def collect(self) -> Iterable[Family]:
        """Return the family as it is now."""
        if self._metric.type == "counter":
            counter = self._counter()
            for values, tally in self._tallies.items():
                counter.add_metric(values, tally.count)
            return [counter]
        histogram = self._histogram()
        for values, distribution in self._distributions.items():
            histogram.add_metric(values, distribution.buckets(), distribution.total)
        return [histogram]

    def _counter(self) -> CounterMetricFamily:
        metric = self._metric
        return CounterMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)

    def _histogram(self) -> HistogramMetricFamily:
        metric = self._metric
        return HistogramMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)
