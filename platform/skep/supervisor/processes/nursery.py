"""The nursery, from which zygotes are forked."""

import asyncio
import socket
from collections.abc import Callable, Mapping

from skep.base.backoff import Backoff
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.spawn import spawn
from skep.wire.messages import Boot

# One that has lived this long (seconds) has not failed.
_HELD = 60.0
_AGAIN = Backoff(first=0.5, factor=4.0, cap=60.0, jitter=0.2)


class Nursery:
    """An interpreter that has imported the platform and no plugin; while there is none, zygotes
    have to be started without it.

    `environment` is what it starts with. `boot` makes its first message.
    """

    def __init__(
        self, environment: Mapping[str, str], boot: Callable[[], Boot], children: Children
    ) -> None:
        self._environment = environment
        self._boot = boot
        self._living = children
        self._child: Child | None = None
        self._stopped = False
        self._failures = 0
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Start it; it is started again whenever it ends."""
        if self._stopped:
            return
        try:
            pid, ours = spawn("skep.worker", "nursery", self._environment)
        except OSError:
            self._start_later()
            return
        self._child = Child("nursery", 0, ours, self._living.take, self._ended, pid)
        self._living.born(self._child)
        self._child.send(self._boot())

    def fork(self) -> socket.socket | None:
        """Order a child; return our end of its channel, which is closed if it is never born. None
        if there is no nursery, or no descriptor."""
        return self._child.order("zygote") if self._child else None

    def give_up(self) -> None:
        """Kill it because it does not answer; another one is started."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """End it; its children live on."""
        self._stopped = True
        if self._child is not None:
            self._child.dismissed = True
            self._child.kill()

    def _ended(self, child: Child) -> None:
        self._child = None
        self._failures = 0 if child.age > _HELD else self._failures
        self._living.ended(child)
        self._start_later()

    def _start_later(self) -> None:
        self._failures += 1
        self._loop.call_later(_AGAIN.delay(self._failures), self.start)
