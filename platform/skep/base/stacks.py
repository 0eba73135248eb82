"""The stacks of a process whose event loop may be stuck: written by a signal handler in C.

A process that wants to be looked into calls `offer` once; from then on SIGUSR2 makes it write the
stack of each of its threads to a file of its own that has no name. Whoever may read
/proc/PID/fd of it (its own user, root) reads that file there. Linux only.
"""

import asyncio
import faulthandler
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

# Above what a process opens by itself and below the usual limit of 1024.
_DESCRIPTOR = 998
# It is done when it has written nothing for one look; on a busy machine it may be kept from it.
_LOOK, _PATIENCE = 0.1, 2.0


def offer() -> None:
    """Write the stacks of all threads at each SIGUSR2, if the system and its limits let us."""
    few = resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= _DESCRIPTOR
    if few or not hasattr(os, "memfd_create"):
        return
    file = os.memfd_create("skep-stacks", os.MFD_CLOEXEC)
    os.dup2(file, _DESCRIPTOR, inheritable=False)
    os.close(file)
    faulthandler.register(signal.SIGUSR2, file=_DESCRIPTOR, all_threads=True)


async def take(pid: int, ask: Callable[[signal.Signals], None]) -> str:
    """Return the stacks of a process that has offered them; empty if it does not answer.

    `ask` sends it a signal.
    """
    path = Path(f"/proc/{pid}/fd/{_DESCRIPTOR}")
    begin = seen = _size(path)
    if begin is None:
        return ""  # the signal would end a process that does not expect it
    ask(signal.SIGUSR2)
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    # The writer is a signal handler, so there is nothing to be woken by.
    while loop.time() < end:
        await asyncio.sleep(_LOOK)
        now = _size(path)
        if now == seen and now != begin:
            break
        seen = now
    return _rest(path, begin)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _rest(path: Path, begin: int) -> str:
    try:
        return path.read_bytes()[begin:].decode("utf-8", "replace")
    except OSError:
        return ""
