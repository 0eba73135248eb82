"""How fast things happened between two readings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from skep.cli.top.reading import Labels, Reading

# A quantile above the last bound, as /metrics writes infinity.
ABOVE = "+Inf"


@dataclass(frozen=True)
class Latency:
    """How long requests took, in seconds; None without requests.

    A histogram knows only between which bounds a request lies, so `p50` and `p99` are the upper
    bounds of their buckets: that share of the requests took no longer. ABOVE is beyond the last.
    """

    mean: float | None = None
    p50: float | str | None = None
    p99: float | str | None = None


class Rates:
    """Compares a reading with an earlier one.

    Without an earlier one, or when a new supervisor has begun to count since, every rate is None.
    """

    def __init__(self, earlier: Reading | None, later: Reading) -> None:
        same = earlier is not None and earlier.status["run_id"] == later.status["run_id"]
        self._earlier = earlier if same else None
        self._later = later

    @property
    def seconds(self) -> float | None:
        """The time between the two readings."""
        if self._earlier is None:
            return None
        return self._later.clock - self._earlier.clock

    def per_second(
        self, name: str, wanted: Callable[[Labels], bool] = lambda _: True, **labels: str
    ) -> float | None:
        """Return how fast a counter grew, summed over the wanted series with these labels.

        None if there is no such family in the later reading.
        """
        if self._earlier is None or not self.seconds:
            return None
        now = dict(_numbers(self._later, name, wanted, labels))
        if not now and not any(self._later.series(name)):
            return None
        before = dict(_numbers(self._earlier, name, wanted, labels))
        return sum(_grown(before.get(key, 0.0), value) for key, value in now.items()) / self.seconds

    def cpu_percent(self, pid: int) -> float | None:
        """Return the processor time of a process in percent of one core."""
        if self._earlier is None:
            return None
        seconds = self._later.processes_clock - self._earlier.processes_clock
        before, now = _cpu(self._earlier, pid), _cpu(self._later, pid)
        if not seconds or before is None or now is None or now < before:
            return None  # a smaller time is that of another process with the same pid
        return 100 * (now - before) / seconds

    def latency(self, name: str) -> Latency:
        """Return the latency of what a histogram counted between the two readings."""
        if self._earlier is None:
            return Latency()
        bounds = self._later.bounds(name)
        counts, total = [0.0] * (len(bounds) + 1), 0.0
        before = {_key(labels): value for labels, value in self._earlier.series(name)}
        for labels, (seconds, buckets) in self._later.series(name):
            old_seconds, old_buckets = before.get(_key(labels), (0.0, [0.0] * len(buckets)))
            total += seconds - old_seconds
            for index, (old, new) in enumerate(zip(old_buckets, buckets, strict=True)):
                counts[index] += new - old
        if (number := sum(counts)) <= 0:
            return Latency()
        return Latency(
            total / number, quantile(0.5, bounds, counts), quantile(0.99, bounds, counts)
        )


def quantile(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float | str:
    """Return the upper bound of the bucket in which this share of the values is reached.

    `counts` are those of each bucket by itself, that above the last bound included.
    """
    rank = share * sum(counts)
    for bound, below in zip((*bounds, math.inf), accumulate(counts), strict=True):
        if below >= rank:
            return bound if math.isfinite(bound) else ABOVE
    return ABOVE


def _numbers(
    reading: Reading, name: str, wanted: Callable[[Labels], bool], labels: Labels
) -> list[tuple[tuple[tuple[str, str], ...], float]]:
    found = reading.series(name, **labels)
    return [(_key(own), float(value)) for own, value in found if wanted(own)]


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _grown(before: float, now: float) -> float:
    """Return by how much a counter grew; one that fell began again at zero."""
    return now - before if now >= before else now


def _cpu(reading: Reading, pid: int) -> float | None:
    for process in reading.processes:
        if process["pid"] == pid and process["cpu"] is not None:
            return float(process["cpu"])
    return None
