"""What a benchmark says: a figure, and the bar it is held against."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table. `bar` is the highest value that is good, None for no bar."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether the bar is met."""
        return self.bar is None or self.value <= self.bar

    def __str__(self) -> str:
        bar = "" if self.bar is None else f"bar {self.bar:g}"
        verdict = "" if self.bar is None else ("ok" if self.good else "MISSED")
        note = f"  ({self.note})" if self.note else ""
        return f"{self.name:<52}{self.value:>10.3f} {self.unit:<6}{bar:<10}{verdict}{note}"


def spread(values: Sequence[float]) -> str:
    """Say how far the single values lie apart."""
    return f"{min(values):.3f} to {max(values):.3f} in {len(values)}"


def median(values: Sequence[float]) -> float:
    """Return the middle of the values."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
