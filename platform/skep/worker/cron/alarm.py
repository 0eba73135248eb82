"""An alarm of the event loop that is exact to some microseconds.

The timers of event loops count in milliseconds. On Linux the kernel's timerfd does better.
"""

import asyncio
import os
from collections.abc import Callable

from skep.base.system.linux import open_timer, set_timer


class Alarm:
    """Calls `ring` once, so many seconds after the last `set`."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._timer = open_timer()
        if self._timer is not None:
            self._loop.add_reader(self._timer, self._expired)

    def set(self, delay: float) -> None:
        """Let it ring in so many seconds, at once if there are none, and not when it would have."""
        if self._timer is not None:
            set_timer(self._timer, delay)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(delay, 0.0), self._ring)

    def close(self) -> None:
        """Let it ring no more."""
        if self._handle is not None:
            self._handle.cancel()
        if self._timer is not None:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = None

    def _expired(self) -> None:
        if self._timer is None:
            return
        try:
            os.read(self._timer, 8)
        except BlockingIOError:  # it was set again since
            return
        self._ring()
