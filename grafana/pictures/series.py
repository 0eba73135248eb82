"""What a panel asks of Prometheus, and the answers."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Ask = Callable[[str, bool], list[dict[str, Any]]]
"""Asks an expression, over the whole time or only (True) for now; returns Prometheus' series."""


@dataclass(frozen=True)
class Series:
    """One series: its legend, its labels, the letter of its query, Unix times and values."""

    name: str
    labels: Mapping[str, str]
    letter: str
    times: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The newest value that is a number, or NaN."""
        return next((value for value in reversed(self.values) if not math.isnan(value)), math.nan)

    @property
    def peak(self) -> float:
        """The largest value, 0 if there is none."""
        return max((value for value in self.values if not math.isnan(value)), default=0.0)


def asked(panel: Mapping[str, Any], ask: Ask) -> list[Series]:
    """Return the series of a panel."""
    found = []
    for target in panel["targets"]:
        instant = bool(target.get("instant"))
        for answer in ask(target["expr"], instant):
            points = [answer["value"]] if instant else answer["values"]
            labels = {k: v for k, v in answer["metric"].items() if k != "__name__"}
            found.append(
                Series(
                    _legend(target["legendFormat"], labels),
                    labels,
                    target["refId"],
                    tuple(float(at) for at, _ in points),
                    tuple(float(value) for _, value in points),
                )
            )
    return found


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), template).strip()
