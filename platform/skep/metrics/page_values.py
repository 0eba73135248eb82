"""Numbers of the client library's instruments, kept in the page of counters."""

import threading
from collections.abc import Sequence
from typing import Any

from prometheus_client import values

from skep.metrics.counter_page import KEPT, PAGE, Numbers


def keep_in_page() -> None:
    """Keep the numbers of all instruments made from now on in the page of counters.

    `ValueClass` is where the client library's own multiprocess mode comes in.
    """
    values.ValueClass = PageValue


class PageValue(values.MutexValue):
    """What the client library keeps each number in, here in the page."""

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        **_: Any,
    ) -> None:
        self._family = name if typ == "counter" else metric_name
        self._exemplar = None
        self._lock = threading.Lock()
        self._page, self._index = (
            _allocate(typ, metric_name, name, labelnames, labelvalues, help_text)
            if typ in KEPT
            else (Numbers(1), 0)
        )

    def __del__(self) -> None:
        PAGE.dropped(self._family)

    def inc(self, amount: float) -> None:
        with self._lock:
            self._page.numbers[self._index] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        with self._lock:
            self._page.numbers[self._index] = value

    def get(self) -> float:
        value: float = self._page.numbers[self._index]
        return value


def _allocate(
    kind: str, family: str, name: str, labels: Sequence[str], given: Sequence[str], text: str
) -> tuple[Numbers, int]:
    if kind == "counter":
        return PAGE.allocate((name, kind, text), [list(labels), list(given), "value"])
    if labels and labels[-1] == "le":
        return PAGE.allocate((family, kind, text), [list(labels[:-1]), list(given[:-1]), given[-1]])
    part = name.removeprefix(f"{family}_")
    return PAGE.allocate((family, kind, text), [list(labels), list(given), part])
