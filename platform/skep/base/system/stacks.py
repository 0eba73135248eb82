"""Where the threads of a process are, written by signal handlers in C into a file in memory.

This works even in a process whose event loop is stuck, and in one that crashes. A child arms
itself once and hands the file to its parent: from then on SIGUSR2 makes it write the stacks of all
its threads and go on, and whatever ends it from within (SIGABRT, SIGSEGV …) makes it write them
before it ends.
"""

import asyncio
import faulthandler
import os
import signal
import tempfile
from collections.abc import Callable

_MOST = 64 * 1024
# It is done when it has written nothing for one look; on a busy machine it may be kept from it.
_LOOK, _PATIENCE = 0.1, 2.0


def arm() -> int:
    """Write the stacks at the signals from now on; return the descriptor of the file."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stacks")
    else:
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    faulthandler.enable(file=descriptor, all_threads=True)
    faulthandler.register(signal.SIGUSR2, file=descriptor, all_threads=True)
    return descriptor


class Stacks:
    """The parent's side: reads the file that a child has handed over, and closes it in the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closed = False
        self._taken = 0

    async def take(self, ask: Callable[[signal.Signals], None]) -> str:
        """Return where the threads are now; empty if the child does not answer. `ask` sends it a
        signal."""
        begin = seen = self._size()
        ask(signal.SIGUSR2)
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        # The writer is a signal handler, so there is nothing to be woken by.
        while loop.time() < end:
            await asyncio.sleep(_LOOK)
            now = self._size()
            if now == seen and now != begin:
                break
            seen = now
        return self.read()

    def read(self) -> str:
        """Return what was written since the last time."""
        if self._closed:
            return ""
        text = os.pread(self._descriptor, _MOST, self._taken)
        self._taken = self._size()
        return text.decode(errors="replace").strip()

    def close(self) -> None:
        self._closed = True
        os.close(self._descriptor)

    def _size(self) -> int:
        return self._taken if self._closed else os.fstat(self._descriptor).st_size
