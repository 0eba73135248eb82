"""A process that a handler has forked is no worker, and must not come back as one.

It has its parent's event loop and its parent's connections: in the parent's name it would read what
the store answers, settle leases and answer requests. What it does inside of the handler is its own
affair, as in a child of `multiprocessing`, which never comes back.
"""

import asyncio
import logging
import os
import sys
from contextlib import suppress

# sysexits.h: an internal software error.
_EX_SOFTWARE = 70

log = logging.getLogger(__name__)

_worker = 0


def guard(loop: asyncio.AbstractEventLoop) -> None:
    """Be the worker whose loop this is: what is forked from now on ends when it comes back to it,
    or where it is asked to."""
    global _worker
    _worker = os.getpid()
    os.register_at_fork(after_in_child=lambda: loop.call_soon(end_if_forked))


def end_if_forked() -> None:
    """End this process at once, unless it is the worker itself."""
    if _worker in (0, os.getpid()):
        return
    log.error("A handler has forked, and the child came out of it: it ends here.")
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(_EX_SOFTWARE)
