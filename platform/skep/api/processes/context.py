"""What a custom process knows about itself while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from skep.base.errors import ProcessError

if TYPE_CHECKING:
    from skep.api.processes.message import Messages
    from skep.messaging.inbox import Inbox


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
        self._inbox: Inbox | None = None
        self._open: Callable[[], Messages]

    @property
    def stopping(self) -> Stopping:
        """Set when the process has to end."""
        self.watches = True
        return self._stopping

    def messages(self) -> Messages:
        """Return the messages to the process: for `async for`, or a plain `for` in a thread.

        They end when the process has to end. All processes of the class share them: each message
        goes to the first that asks for it. When the loop goes on to its next message, a stream
        ends, and a request without a reply fails, unless `message.keep()` was called.
        """
        self.watches = True
        if self._inbox is None:
            raise ProcessError(f"{self.slot} has no inbox: messages are for `run`, not before.")
        self._inbox.hold()
        return self._open()

    def receive_from(self, inbox: Inbox, messages: Callable[[], Messages]) -> None:
        """Let `messages` return those of this inbox; for the platform and for tests."""
        self._inbox, self._open = inbox, messages

    def stop(self) -> None:
        """Set `stopping`; for the platform and for tests. Call it in the event loop."""
        if self._inbox is not None:
            self._inbox.stop()
        self._stopping.set()
