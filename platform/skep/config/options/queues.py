"""The settings of single queues in `PLATFORM_QUEUES`.

    PLATFORM_QUEUES="media workers=2 concurrency=4, mail rate=10/s waiting=1000"

Commas separate queues, spaces the settings of one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from skep.base.errors import UsageError

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_RATE = re.compile(r"([0-9]{1,7})/([0-9]{0,12})(ms|s|m|h)")
# An engine remembers every lease within a period; a year in milliseconds.
_LARGEST_RATE, _LONGEST_PERIOD = 1_000_000, 365 * 86_400_000
_SPAN = re.compile(r"([0-9]{1,9})(ms|s|m|h)?")
# A week.
LONGEST_DRAIN = 7 * 86400.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class QueueTerms:
    """The settings of one queue; 0 is not set.

    `workers` of its own serve it and nothing else, and no other worker does. At most `concurrency`
    of its deliveries run at a time in all workers together, and at most `rate` start within any
    `period` in ms; it is full with `waiting` deliveries. When its worker has to go, a handler may
    go on for `drain` seconds (None is the platform's own), and be cut off `cuts` times.
    """

    name: str
    workers: int = 0
    concurrency: int = 0
    rate: int = 0
    period: int = 1000
    waiting: int = 0
    drain: float | None = None
    cuts: int = 0


def parse(texts: Iterable[str]) -> dict[str, QueueTerms]:
    """Return the terms by queue. Raises UsageError."""
    found: dict[str, QueueTerms] = {}
    for text in texts:
        name, *words = text.split()
        if not _NAME.fullmatch(name):
            raise UsageError(f"PLATFORM_QUEUES: {name!r} is not a name of a queue.")
        if name in found:
            raise UsageError(f"PLATFORM_QUEUES speaks of the queue {name} twice.")
        terms = QueueTerms(name)
        for word in words:
            terms = replace(terms, **_term(name, word))
        found[name] = terms
    return found


def own_workers(texts: Iterable[str]) -> dict[str, int]:
    """Return how many task workers of their own queues have, by queue."""
    return {queue.name: queue.workers for queue in parse(texts).values() if queue.workers}


def _term(queue: str, word: str) -> Mapping[str, Any]:
    name, _, value = word.partition("=")
    read = _READ.get(name)
    found = read(name, value) if read is not None else None
    if found is None:
        raise UsageError(
            f"PLATFORM_QUEUES: {word!r} says nothing of the queue {queue}; what can be said is "
            "workers=2, concurrency=4, rate=10/s, waiting=1000, drain=10m and cuts=3."
        )
    return found


def _count(name: str, value: str) -> Mapping[str, int] | None:
    return {name: int(value)} if value.isdecimal() and len(value) < 9 else None


def _rate(name: str, value: str) -> Mapping[str, int] | None:
    match = _RATE.fullmatch(value)
    if match is None:
        return None
    count, length, unit = match.groups()
    period = int(length or "1") * _UNITS[unit]
    is_possible = 1 <= int(count) <= _LARGEST_RATE and 1 <= period <= _LONGEST_PERIOD
    return {"rate": int(count), "period": period} if is_possible else None


def _span(name: str, value: str) -> Mapping[str, float] | None:
    match = _SPAN.fullmatch(value)
    if match is None:
        return None
    seconds = int(match[1]) * _UNITS[match[2] or "s"] / 1000
    return {name: seconds} if seconds <= LONGEST_DRAIN else None


_READ: Mapping[str, Callable[[str, str], Mapping[str, float] | None]] = {
    "workers": _count,
    "concurrency": _count,
    "waiting": _count,
    "rate": _rate,
    "drain": _span,
    "cuts": _count,
}
