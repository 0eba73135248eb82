"""A worker's frame of metrics, checked whole before any of it counts.

`skep.metrics.frames` describes frames. A worker may be sick; the supervisor's
loop must not become so. Everything is checked here: shapes, numbers, and that a value belongs to a
series of the right type that the worker has defined.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Labels = tuple[tuple[str, str], ...]

TYPES = ("counter", "gauge", "histogram", "summary", "info", "stateset", "unknown")
MERGES = ("sum", "max", "min", "latest", "per_worker")
DISTRIBUTIONS = ("histogram", "summary")
_PARTS = {"families", "series", "add", "observe", "set", "exemplars", "drop"}
# OpenMetrics 1.0.0: the labels of an exemplar have at most this many characters in all.
_EXEMPLAR = 128


class BadFrame(ValueError):
    """The frame is not what a healthy worker sends; the text says where."""


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """A metric a worker has."""

    id: int
    name: str
    type: str
    help: str
    merge: str

    @property
    def is_absolute(self) -> bool:
        """Whether it is a counter whose worker sends what it has come to in all."""
        return self.type == "counter" and self.merge == "latest"


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A set of labels of a metric; `bounds` are those of its buckets, +Inf apart."""

    id: int
    family: FamilyRow
    labels: Labels
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ExemplarRow:
    """An observation that stands for those of a bucket: its own labels, value and Unix time."""

    series: SeriesRow
    bucket: int
    labels: Labels
    value: float
    at: float


@dataclass
class Definitions:
    """The ids a worker has given so far."""

    families: dict[int, FamilyRow] = field(default_factory=dict)
    series: dict[int, SeriesRow] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """What changed."""

    defined: Definitions
    added: list[tuple[SeriesRow, float]]
    observed: list[tuple[SeriesRow, float, list[float]]]
    was_set: list[tuple[SeriesRow, float]]
    exemplars: list[ExemplarRow]
    dropped: list[SeriesRow]


def check(frame: object, known: Definitions) -> Frame:
    """Return the frame in full, given what its worker has defined before. Raises BadFrame."""
    if not isinstance(frame, dict) or not frame.keys() <= _PARTS:
        raise BadFrame("it is not an object of the known parts")
    new = Definitions()
    for row in _rows(frame, "families", 5):
        family = _family(row)
        new.families[family.id] = family
    families = known.families | new.families
    for row in _rows(frame, "series", 3, 4):
        series = _series(row, families)
        new.series[series.id] = series
    lookup = _Lookup(known.series, new.series)
    return Frame(
        new,
        [_added(row, lookup) for row in _rows(frame, "add", 2)],
        [_observed(row, lookup) for row in _rows(frame, "observe", 3)],
        [_was_set(row, lookup) for row in _rows(frame, "set", 2)],
        [_exemplar(row, lookup) for row in _rows(frame, "exemplars", 5)],
        [lookup(item) for item in _list(frame.get("drop", []))],
    )


class _Lookup:
    """Finds a series by its id, among those known before and those of this frame."""

    def __init__(self, known: Mapping[int, SeriesRow], new: Mapping[int, SeriesRow]) -> None:
        self._known = known
        self._new = new

    def __call__(self, number: Any) -> SeriesRow:
        key = _integer(number)
        series = self._new.get(key) or self._known.get(key)
        if series is None:
            raise BadFrame(f"series {key} was never defined")
        return series


def _family(row: list[Any]) -> FamilyRow:
    name, kind, text, merge = (_text(item) for item in row[1:])
    if kind not in TYPES or merge not in MERGES:
        raise BadFrame(f"{name} has the type {kind} and the merge {merge}")
    return FamilyRow(_integer(row[0]), name, kind, text, merge)


def _series(row: list[Any], families: Mapping[int, FamilyRow]) -> SeriesRow:
    family = families.get(_integer(row[1]))
    if family is None:
        raise BadFrame("a series has no family")
    labels = checked_labels(row[2])
    bounds = tuple(_finite(item) for item in _list(row[3])) if len(row) > 3 else ()
    if list(bounds) != sorted(set(bounds)) or (bounds and family.type != "histogram"):
        raise BadFrame(f"the bounds of {family.name} do not rise, or it is not a histogram")
    return SeriesRow(_integer(row[0]), family, labels, bounds)


def _added(row: list[Any], lookup: _Lookup) -> tuple[SeriesRow, float]:
    series, delta = lookup(row[0]), _finite(row[1])
    if series.family.type != "counter" or series.family.is_absolute or delta < 0:
        raise BadFrame(f"{series.family.name} cannot be raised by {delta}")
    return series, delta


def _observed(row: list[Any], lookup: _Lookup) -> tuple[SeriesRow, float, list[float]]:
    series, total = lookup(row[0]), _finite(row[1])
    counts = [_finite(item) for item in _list(row[2])]
    if series.family.type not in DISTRIBUTIONS or len(counts) != len(series.bounds) + 1:
        raise BadFrame(f"{series.family.name} has not {len(counts)} buckets")
    if min(counts) < 0:
        raise BadFrame(f"a bucket of {series.family.name} went down")
    return series, total, counts


def _was_set(row: list[Any], lookup: _Lookup) -> tuple[SeriesRow, float]:
    series = lookup(row[0])
    if series.family.is_absolute:
        return series, _count(series, row[1])
    if series.family.type in ("counter", *DISTRIBUTIONS):
        raise BadFrame(f"{series.family.name} cannot be set")
    if row[1] in ("NaN", "+Inf", "-Inf"):
        return series, float(row[1])
    return series, _finite(row[1])


def _count(series: SeriesRow, value: Any) -> float:
    if (number := _finite(value)) < 0:
        raise BadFrame(f"{series.family.name} cannot have come to {number}")
    return number


def _exemplar(row: list[Any], lookup: _Lookup) -> ExemplarRow:
    series, bucket = lookup(row[0]), _integer(row[1])
    if series.family.type not in ("counter", "histogram") or not 0 <= bucket <= len(series.bounds):
        raise BadFrame(f"{series.family.name} has no bucket {bucket} for an exemplar")
    labels = checked_labels(row[2])
    if sum(len(name) + len(value) for name, value in labels) > _EXEMPLAR:
        raise BadFrame(f"the exemplar of {series.family.name} has over {_EXEMPLAR} characters")
    return ExemplarRow(series, bucket, labels, _finite(row[3]), _finite(row[4]))


def checked_labels(value: Any) -> Labels:
    """Return labels in their order, as text that UTF-8 can write. Raises BadFrame."""
    if not isinstance(value, dict):
        raise BadFrame("labels are missing")
    return tuple(sorted((_text(k), _text(v)) for k, v in value.items()))


def _rows(frame: Mapping[str, Any], part: str, *lengths: int) -> Iterator[list[Any]]:
    for row in _list(frame.get(part, [])):
        if len(_list(row)) not in lengths:
            raise BadFrame(f"a row of {part} has {len(row)} items")
        yield row


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadFrame("a list is missing")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadFrame("a text is missing")
    # JSON can carry half a surrogate pair, UTF-8 cannot: one such label would spoil the whole page.
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def _integer(value: Any) -> int:
    # A bool is an int to Python, and 1 to a dict.
    if type(value) is not int:
        raise BadFrame("an id is missing")
    return value


def _finite(value: Any) -> float:
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer of hundreds of digits
        pass
    raise BadFrame("a number is missing")
