"""One timer for all deadlines."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring()` when the earliest moment that `earliest()` names has come.

    `earliest` is a pure look at deadlines, in the loop's time; None for none. Whoever has changed a
    deadline calls `set`, or `set_soon` if others are still going to change theirs in this turn.
    """

    def __init__(self, earliest: Callable[[], float | None], ring: Callable[[], None]) -> None:
        self._earliest = earliest
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Set the timer for the earliest deadline."""
        self.cancel()
        moment = self._earliest()
        if moment is not None:
            self._timer = self._loop.call_at(moment, self._go_off)

    def set_soon(self) -> None:
        """Do so after the event that is being handled now."""
        self._loop.call_soon(self.set)

    def cancel(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_off(self) -> None:
        self._timer = None
        try:
            self._ring()
        finally:
            self.set()
