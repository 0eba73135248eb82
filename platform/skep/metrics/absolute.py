"""Counters whose producer keeps them on the disk and knows what they have come to in all."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily

from skep.metrics.names import Metric


class AbsoluteValue:
    """The value of one set of labels, 0 until it is set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value


class AbsoluteCounter:
    """A counter of the catalogue that is set. It stands in no page of counters: what a killed
    process had set is on the disk, where its successor finds it."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._values: dict[tuple[str, ...], AbsoluteValue] = {}
        registry.register(self)

    def labels(self, *values: str) -> AbsoluteValue:
        """Return the value of these labels, in the order of the metric's labels."""
        return self._values.setdefault(values, AbsoluteValue())

    def describe(self) -> Iterable[CounterMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = self._family()
        for values, child in self._values.items():
            family.add_metric(values, child.value)
        return [family]

    def _family(self) -> CounterMetricFamily:
        metric = self._metric
        return CounterMetricFamily(metric.exposed, metric.help, labels=metric.own_labels)
