"""How much of one queue may be handed out now: pure, with the time as an argument."""

from collections import deque

from skep.engine.contract import QueueLimits

NO_LIMITS = QueueLimits()


class Throttle:
    """The limits of one queue, whether it is paused, and when its last leases began.

    The window of a rate slides: in no period, wherever it begins, are there more than `rate`
    leases. It is lost with the process.
    """

    def __init__(self, limits: QueueLimits = NO_LIMITS, paused: bool = False) -> None:
        self.paused = paused
        self.limits = limits
        self._begun: deque[int] = deque()

    def allows(self, n: int, leased: int, now: int) -> int:
        """Return how many of `n` may be leased now, while `leased` are."""
        if self.paused:
            return 0
        limits = self.limits
        if limits.concurrency:
            n = min(n, limits.concurrency - leased)
        if limits.rate:
            n = min(n, self._room(now))
        return max(n, 0)

    def passed(self, n: int, now: int) -> None:
        """Count `n` leases that begin."""
        if self.limits.rate:
            self._begun.extend([now] * n)

    def opens_at(self, now: int) -> int | None:
        """Return when the rate allows the next lease, None if the rate does not prevent it."""
        if self.paused or not self.limits.rate or self._room(now) > 0:
            return None
        return self._begun[-self.limits.rate] + self.limits.period

    def _room(self, now: int) -> int:
        begun = self._begun
        # Moments in the future are from before the clock was set back.
        while begun and not now - self.limits.period < begun[0] <= now:
            begun.popleft()
        return self.limits.rate - len(begun)
