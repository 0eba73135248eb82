"""A process that a plugin forks is an ordinary one: it must not continue as a worker.

A forked child has its parent's event loop, connections and signal handlers. Left alone, it would
read the store's answers, settle leases and answer requests in the parent's name, and a SIGTERM to
it would wake the parent's loop, which would drain. So in each process that runs code of plugins, a
fork that is not the platform's own gets default signal handling, no longer wakes the parent's loop,
and ends where it returns to that loop. What it does inside the handler is the handler's affair, as
in a child of `multiprocessing`.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress

from skep.base.system import signals

# sysexits.h: an internal software error.
_EX_SOFTWARE = 70

log = logging.getLogger(__name__)

# Module state, because a fork can happen anywhere in the process.
_worker = 0
_loop: asyncio.AbstractEventLoop | None = None
_own_fork = False
_masks = threading.local()


def watch() -> None:
    """Treat every fork in this process and its forks as one of a plugin, except those of `fork`; to
    be called once, before any plugin is imported."""
    os.register_at_fork(
        before=_hold_signals, after_in_parent=_release_signals, after_in_child=_be_ordinary
    )


def fork() -> int:
    """Fork a process of the platform: it handles signals as its parent does. See `os.fork`."""
    global _own_fork
    _own_fork = True
    try:
        return os.fork()
    finally:
        _own_fork = False


def guard(loop: asyncio.AbstractEventLoop) -> None:
    """Register this process as the worker with this loop: what it forks ends when it returns to the
    loop or calls `end_if_forked`."""
    global _worker, _loop
    _worker, _loop = os.getpid(), loop


def end_if_forked() -> None:
    """End this process at once, unless it is the worker itself."""
    if _worker in (0, os.getpid()):
        return
    log.error("A handler has forked, and the child returned from it: it ends here.")
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(_EX_SOFTWARE)


def _hold_signals() -> None:
    """Block signals until `_be_ordinary`: the parent's handler would still take them."""
    if not _own_fork:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.HELD)


def _release_signals() -> None:
    if not _own_fork:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _be_ordinary() -> None:
    if _own_fork:
        return
    signal.set_wakeup_fd(-1)
    signals.be_default()
    if _loop is not None:
        _loop.call_soon(end_if_forked)
