"""How long to wait before trying again."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential waiting with jitter; all times in seconds.

    The n-th wait (n counts from 1) is `first * factor ** (n - 1)`, never more than `cap`. With
    `jitter` 1.0 ("full jitter") the wait is drawn from the whole span below that, so that many who
    failed together do not come back together; with 0.2 it varies by a fifth to either side.
    """

    first: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 1.0

    def delay(self, n: int, draw: Callable[[], float] = random.random) -> float:
        """Return the n-th wait; `draw` gives numbers in [0, 1)."""
        try:
            full = min(self.cap, self.first * self.factor ** (max(n, 1) - 1))
        except OverflowError:  # what failed may have been failing for days
            full = self.cap
        if self.jitter >= 1.0:
            return full * draw()
        return full * (1 - self.jitter + 2 * self.jitter * draw())
