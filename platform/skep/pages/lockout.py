"""How long a guesser must wait."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_MOST = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    free_at: float
    forgotten_at: float


class Lockout:
    """Counts failures by key: a name, or an address. After `allowed` failures in a row the key is
    locked for `first` seconds, and after each further one for twice as long, up to `longest`."""

    def __init__(
        self,
        allowed: int,
        *,
        first: float = 60.0,
        longest: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._first, self._longest = first, longest
        self._clock = clock
        self._failures: dict[str, _Failures] = {}

    def seconds(self, key: str) -> int:
        """Return for how many more seconds the key is locked, rounded up; 0 if it is not."""
        found = self._failures.get(key)
        return max(0, math.ceil(found.free_at - self._clock())) if found else 0

    def failed(self, key: str) -> None:
        """Count a failure."""
        now = self._clock()
        found = self._failures.pop(key, None)
        count = found.count + 1 if found and found.forgotten_at > now else 1
        beyond = count - self._allowed
        # The exponent is bounded: a guesser of a week would make a number without end.
        pause = min(self._longest, self._first * 2 ** min(beyond, 32)) if beyond >= 0 else 0.0
        # The one that failed last comes last, so that the first is the one to forget.
        self._failures[key] = _Failures(count, now + pause, now + pause + self._longest)
        if len(self._failures) > _MOST:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)
