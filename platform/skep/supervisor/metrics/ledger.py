"""All metrics of all workers, ever: the sum of their frames, and the supervisor's own.

Counters and histograms live here, in the one process that outlives generations, so they never go
back when workers are replaced or killed. Gauges belong to a worker and end with it, unless they are
merged as `latest`. No I/O, no clock, one thread.
"""

import bisect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skep.base.errors import InternalError
from skep.metrics.counter_page import Counted
from skep.metrics.names import BY_EXPOSED, BY_NAME, CATALOGUE, MAX_SERIES, OTHER, Metric
from skep.supervisor.metrics.frame import (
    DISTRIBUTIONS,
    BadFrame,
    Definitions,
    ExemplarRow,
    FamilyRow,
    Frame,
    Labels,
    SeriesRow,
    check,
    checked_labels,
)

MAX_FAMILIES = 1000

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_SUFFIXES = {"histogram": ("", "_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}
_MERGES: Mapping[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}
_OWN = ""


@dataclass(slots=True)
class _Distribution:
    """A histogram or summary of one set of labels; how many fell into each bucket by itself."""

    total: float = 0.0
    counts: dict[float, float] = field(default_factory=dict)

    def add(self, total: float, bounds: Iterable[float], counts: Iterable[float]) -> None:
        """Add to the sum, and to each bucket its count."""
        self.total += total
        for bound, count in zip(bounds, counts, strict=True):
            self.counts[bound] = self.counts.get(bound, 0.0) + count


@dataclass(slots=True)
class _Family:
    """One metric. Its type decides which of the three stores is used.

    `gauges` are by labels, then by whose they are. `bounds` are those of all its buckets but +Inf.
    """

    name: str
    type: str
    help: str
    merge: str
    bounds: tuple[float, ...] = ()
    counters: dict[Labels, float] = field(default_factory=dict)
    distributions: dict[Labels, _Distribution] = field(default_factory=dict)
    gauges: dict[Labels, dict[str, float]] = field(default_factory=dict)
    exemplars: dict[Labels, dict[float, ExemplarRow]] = field(default_factory=dict)

    @property
    def is_absolute(self) -> bool:
        """Whether it is a counter whose worker sends what it has come to in all."""
        return self.type == "counter" and self.merge == "latest"

    def size(self) -> int:
        """How many sets of labels there are."""
        return len(self.counters) + len(self.distributions) + len(self.gauges)

    def has(self, labels: Labels) -> bool:
        """Whether there is a series with these labels."""
        return labels in self.counters or labels in self.distributions or labels in self.gauges

    def start(self, labels: Labels, bounds: tuple[float, ...]) -> None:
        """Show what was counted with these labels, from zero; a gauge shows once it is set."""
        if self.type == "counter":
            self.counters.setdefault(labels, 0.0)
        elif self.type in DISTRIBUTIONS:
            self.distributions.setdefault(labels, _Distribution())
            self.bounds = tuple(sorted({*self.bounds, *bounds}))

    def add(self, labels: Labels, delta: float) -> None:
        """Raise a counter."""
        self.counters[labels] = self.counters.get(labels, 0.0) + delta

    def observe(
        self, labels: Labels, total: float, bounds: Iterable[float], counts: Iterable[float]
    ) -> None:
        """Add to the sum, and to each bucket its count."""
        self.distributions.setdefault(labels, _Distribution()).add(total, bounds, counts)

    def set(self, owner: str, labels: Labels, value: float) -> None:
        """Set one owner's gauge, or what a counter has come to in all."""
        if self.type == "counter":
            self.counters[labels] = value
        else:
            self.gauges.setdefault(labels, {})[owner] = value

    def drop(self, owner: str, labels: Labels) -> None:
        """End one owner's gauge."""
        values = self.gauges.get(labels, {})
        values.pop(owner, None)
        if not values:
            self.gauges.pop(labels, None)

    def labels(self, worker: str, given: Labels) -> Labels:
        """The labels under which a worker's series is counted."""
        if self.type != "counter" or self.merge != "per_worker":
            return given
        return tuple(sorted((*given, ("worker", _slot(worker)))))

    def owner(self, worker: str) -> str:
        """Whose a worker's gauge is. What was set last stays when its worker is gone, so it is the
        ledger's own."""
        return _OWN if self.merge == "latest" else worker


@dataclass
class Absorbed:
    """What a worker has defined, and the families that its series went to.

    A series without one was refused; its values are passed over. `counted` is what its frames have
    added, by the name of the metric and the labels.
    """

    worker: str
    defined: Definitions = field(default_factory=Definitions)
    families: dict[int, _Family] = field(default_factory=dict)
    counted: dict[tuple[str, Labels], _Distribution] = field(default_factory=dict)

    def counts_of(self, row: SeriesRow) -> _Distribution:
        """Return what its frames have added to this series."""
        return self.counted.setdefault((row.family.name, row.labels), _Distribution())

    def rest(self, page: Iterable[Counted]) -> dict[str, list[Any]]:
        """Return as a frame what stands in the page of its counters and in none of its frames.

        Metrics that no frame has defined are left out: they are in a registry that is not shown.
        """
        # Its own ids count up from 1.
        ids = {row.name: -row.id for row in self.defined.families.values()}
        frame: dict[str, list[Any]] = {"families": [], "series": [], "add": [], "observe": []}
        for row in self.defined.families.values():
            frame["families"].append([-row.id, row.name, row.type, row.help, row.merge])
        for number, counted in enumerate(page, 1):
            if counted.name in ids:
                self._put_rest(frame, -number, ids[counted.name], counted)
        return frame

    def _put_rest(
        self, frame: dict[str, list[Any]], number: int, family: int, page: Counted
    ) -> None:
        labels = checked_labels(dict(page.labels))
        known = self.counted.get((page.name, labels), _Distribution())
        value = page.value - known.total
        if page.type == "counter":
            if value > 0:
                frame["series"].append([number, family, dict(labels)])
                frame["add"].append([number, value])
            return
        bounds = sorted(page.counts)
        counts = [page.counts[bound] - known.counts.get(bound, 0.0) for bound in bounds]
        if any(counts):
            finite = [] if page.type == "summary" else bounds[:-1]
            frame["series"].append([number, family, dict(labels), finite])
            frame["observe"].append([number, value, counts])


class Ledger:
    """The sum of everything.

    `worker` is a name that no two living processes share; before its `@` stands the slot
    (`web.0@3`). In the methods for the supervisor's own metrics, names are the catalogue's, without
    prefix, and a name or label that is not in it raises InternalError.
    """

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._families: dict[str, _Family] = {}
        self._claimed: dict[str, str] = {}
        # In order of arrival: of two processes in one slot, the younger speaks for it.
        self._workers: dict[str, Absorbed] = {}
        self.expect()

    def absorb(self, worker: str, frame: object) -> bool:
        """Add a worker's frame. False if it is bad; then nothing of it counts but that it was."""
        return self._absorb(worker, self._workers.setdefault(worker, Absorbed(worker)), frame)

    def _absorb(self, worker: str, held: Absorbed, frame: object) -> bool:
        try:
            checked = check(frame, held.defined)
        except BadFrame:
            self.add("metrics_frames_total", outcome="bad")
            return False
        held.defined.families.update(checked.defined.families)
        held.defined.series.update(checked.defined.series)
        # First what ends: the same labels may begin again under another id.
        _end(worker, held, checked.dropped)
        for row in checked.defined.series.values():
            self._admit(worker, held, row)
        _apply(worker, held, checked)
        self.add("metrics_frames_total", outcome="ok")
        return True

    def settle(self, absorbed: Absorbed, page: Iterable[Counted]) -> None:
        """Add what a process that is gone had counted after its last frame; `page` is all that it
        counted, `absorbed` what `forget` has returned."""
        self._absorb(absorbed.worker, absorbed, absorbed.rest(page))

    def forget(self, worker: str) -> Absorbed:
        """End the gauges of a process that is gone, and return what was absorbed of it. Absorb
        first what it sent last.

        Those that the supervisor has set for its slot end too, unless another process fills it.
        """
        absorbed = self._workers.pop(worker, Absorbed(worker))
        slot = _slot(worker)
        filled = slot in map(_slot, self._workers)
        for family in self._families.values():
            for labels in list(family.gauges):
                family.drop(worker, labels)
                if not filled and ("worker", slot) in labels:
                    family.drop(_OWN, labels)
        return absorbed

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Raise a counter of the supervisor."""
        family, key = self._own(name, "counter", labels)
        if not family.has(key):
            metric = BY_NAME[name]
            for values in metric.siblings(tuple(labels[name] for name in metric.labels)):
                family.start(tuple(sorted(zip(metric.labels, values, strict=True))), ())
        family.add(key, value)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge of the supervisor."""
        family, key = self._own(name, "gauge", labels)
        family.set(_OWN, key, float(value))

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Let a histogram of the supervisor see a value."""
        family, key = self._own(name, "histogram", labels)
        buckets = BY_NAME[name].buckets
        bound = (*buckets, math.inf)[bisect.bisect_left(buckets, value)]
        family.start(key, buckets)
        family.observe(key, value, [bound], [1.0])

    def clear(self, name: str, **match: str) -> None:
        """End the series of one metric that carry these labels: a release no longer in force, a
        cron no longer declared."""
        family = self._families.get(_row(name).exposed)
        for store in (family.counters, family.distributions, family.gauges) if family else ():
            for labels in [la for la in store if match.items() <= dict(la).items()]:
                store.pop(labels)

    def expect(self, **given: str) -> None:
        """Show at zero what can be foreseen once these labels are known (`pool="web"`)."""
        for metric in CATALOGUE:
            if metric.source == "supervisor" and given.keys() <= metric.labels.keys():
                for values in metric.zeros(given):
                    labels = dict(zip(metric.labels, values, strict=True))
                    family, key = self._own(metric.name, metric.type, labels)
                    family.start(key, metric.buckets)

    def families(self) -> list[dict[str, Any]]:
        """Return everything, merged, as JSON can write it, for `skep.metrics.exposition`.

        One object per metric: `name`, `type`, `help`, `bounds` and `series`, which are pairs of
        labels and value. The value of a histogram or summary is its sum and the counts of its
        buckets by themselves, +Inf's last; a gauge's can be one of the texts NaN, +Inf and -Inf.
        Where an observation was kept as an example of its bucket there are `exemplars`: labels of
        the series, bound, own labels, value and Unix time.
        """
        self.set("metrics_series", sum(_lines(family) for family in self._families.values()))
        rank = {worker: number for number, worker in enumerate(self._workers)}
        return [
            {
                "name": family.name,
                "type": family.type,
                "help": family.help,
                "bounds": family.bounds,
                "series": [[dict(la), value] for la, value in _merged(family, rank)],
                **_exemplars(family),
            }
            for family in self._families.values()
            if family.size()
        ]

    def _admit(self, worker: str, held: Absorbed, row: SeriesRow) -> None:
        """Let a worker's series take part, unless its metric or one more of it cannot be had."""
        held.families.pop(row.id, None)
        family = self._families.get(row.family.name)
        reason = self._objection(row.family)
        if not all(_LABEL.match(name) for name, _ in row.labels):
            reason = "name"
        if reason:
            self._refuse(row.family.name, reason)
            return
        family = family or self._open(row.family)
        labels = family.labels(worker, row.labels)
        if not family.has(labels) and family.size() >= self._max_series:
            self._refuse(family.name, "limit")
            return
        family.start(labels, row.bounds)
        held.families[row.id] = family

    def _objection(self, row: FamilyRow) -> str:
        if not _NAME.match(row.name):
            return "name"
        known = self._families.get(row.name) or BY_EXPOSED.get(row.name)
        if known is not None:
            return "" if _alike(known, row) else "clash"
        if len(self._families) >= MAX_FAMILIES:
            return "limit"
        return "clash" if any(name in self._claimed for name in _exposed(row)) else ""

    def _open(self, row: FamilyRow | Metric) -> _Family:
        if isinstance(row, FamilyRow):
            row = BY_EXPOSED.get(row.name, row)
        name = row.exposed if isinstance(row, Metric) else row.name
        family = self._families[name] = _Family(name, row.type, row.help, row.merge)
        self._claimed.update(dict.fromkeys(_exposed(family), name))
        return family

    def _refuse(self, name: str, reason: str) -> None:
        # A name that nothing is counted under could be anything, and there could be many.
        known = name if name in self._families else OTHER
        self.add("metrics_dropped_series_total", metric=known, reason=reason)

    def _own(self, name: str, kind: str, labels: Mapping[str, str]) -> tuple[_Family, Labels]:
        metric = _row(name)
        if metric.type != kind or labels.keys() != metric.labels.keys():
            raise InternalError(f"{name} is a {metric.type} with labels {list(metric.labels)}.")
        family = self._families.get(metric.exposed) or self._open(metric)
        return family, tuple(sorted(labels.items()))


def _apply(worker: str, held: Absorbed, frame: Frame) -> None:
    for row, delta in frame.added:
        if family := held.families.get(row.id):
            family.add(family.labels(worker, row.labels), delta)
            held.counts_of(row).total += delta
    for row, total, counts in frame.observed:
        if family := held.families.get(row.id):
            bounds = (*row.bounds, math.inf)
            family.observe(row.labels, total, bounds, counts)
            held.counts_of(row).add(total, bounds, counts)
    for exemplar in frame.exemplars:
        row = exemplar.series
        if family := held.families.get(row.id):
            bound = (*row.bounds, math.inf)[exemplar.bucket]
            family.exemplars.setdefault(family.labels(worker, row.labels), {})[bound] = exemplar
    for row, value in frame.was_set:
        if family := held.families.get(row.id):
            family.set(family.owner(worker), row.labels, value)


def _end(worker: str, held: Absorbed, rows: Iterable[SeriesRow]) -> None:
    for row in rows:
        if family := held.families.pop(row.id, None):
            family.drop(family.owner(worker), row.labels)
        held.defined.series.pop(row.id, None)


def _alike(one: _Family | Metric, other: FamilyRow) -> bool:
    """Whether both are counted in the same way."""
    return one.type == other.type and one.is_absolute == other.is_absolute


def _row(name: str) -> Metric:
    metric = BY_NAME.get(name)
    if metric is None:
        raise InternalError(f"{name} is not in the catalogue of metrics.")
    return metric


def _exposed(family: FamilyRow | _Family) -> list[str]:
    return [family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))]


def _lines(family: _Family) -> int:
    each = len(family.bounds) + 3 if family.type == "histogram" else 1
    return family.size() * each


def _merged(family: _Family, rank: Mapping[str, int]) -> Iterator[tuple[Labels, Any]]:
    yield from family.counters.items()
    for labels, held in family.distributions.items():
        counts = [held.counts.get(bound, 0.0) for bound in (*family.bounds, math.inf)]
        yield labels, [held.total, counts]
    if family.merge == "per_worker":
        yield from _per_worker(family, rank)
        return
    for labels, values in family.gauges.items():
        merge = _MERGES.get(family.merge, max)
        yield labels, _number(merge(values.values()))


def _exemplars(family: _Family) -> dict[str, Any]:
    rows = [
        [dict(labels), _number(bound), dict(row.labels), row.value, row.at]
        for labels, buckets in family.exemplars.items()
        for bound, row in buckets.items()
    ]
    return {"exemplars": rows} if rows else {}


def _per_worker(family: _Family, rank: Mapping[str, int]) -> Iterator[tuple[Labels, Any]]:
    """One value per slot: while two generations overlap, that of the process that came last."""
    by_slot: dict[Labels, float] = {}
    for labels, values in family.gauges.items():
        for worker in sorted(values, key=lambda worker: rank.get(worker, -1)):
            key = tuple(sorted({**dict(labels), "worker": _slot(worker)}.items()))
            by_slot[key] = values[worker]
    for key, value in by_slot.items():
        yield key, _number(value)


def _slot(worker: str) -> str:
    return worker.partition("@")[0]


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
