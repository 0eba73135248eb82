"""What a custom process knows about itself while it runs."""

from __future__ import annotations

import asyncio
import threading


class Stopping:
    """Whether a custom process has to end; may be used in coroutines and in threads."""

    def __init__(self) -> None:
        self._in_loop = asyncio.Event()
        self._in_threads = threading.Event()

    def is_set(self) -> bool:
        """Return whether the process has to end."""
        return self._in_threads.is_set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the process has to end, for `timeout` seconds at most; return whether it has
        to: `while not await ctx.stopping.wait(5): …` does something every five seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._in_loop.wait()
        except TimeoutError:
            pass
        return self.is_set()

    def wait_sync(self, timeout: float | None = None) -> bool:
        """Wait as `wait` does, in a thread: in a `run` that is a plain `def`."""
        return self._in_threads.wait(timeout)

    def set(self) -> None:
        """Have the process end; see `ProcessContext.stop`."""
        self._in_threads.set()
        self._in_loop.set()


class ProcessContext:
    """What `run`, `on_reload` and `on_stop` of a process receive.

    `slot` is `process.ticker.Echo.1` and `index` its number, from 0; `generation` is the one that
    the process belongs to.
    """

    def __init__(self, slot: str, generation: int) -> None:
        self.slot = slot
        self.index = int(slot.rpartition(".")[2])
        self.generation = generation
        # Whether any code has looked at `stopping`, and so can be expected to end by itself.
        self.watches = False
        self._stopping = Stopping()

    @property
    def stopping(self) -> Stopping:
        """Set when the process has to end."""
        self.watches = True
        return self._stopping

    def stop(self) -> None:
        """Set `stopping`; for the platform and for tests. Call it in the event loop."""
        self._stopping.set()
