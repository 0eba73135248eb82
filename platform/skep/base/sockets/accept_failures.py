"""Log that no connection can be accepted once a second, and not for each attempt.

Without a free descriptor asyncio tries as often as the listener's queue is long, and logs each
failure with a traceback: thousands of lines a second, in which everything else is lost.
"""

import asyncio
import errno
import logging
from typing import Any

# What accept(2) fails with when this process or the system has no more of something.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 1.0

log = logging.getLogger(__name__)


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Log the failures of this loop's listeners, at most one line a second."""
    quiet_until, count = 0.0, 0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal quiet_until, count
        error = context.get("exception")
        if isinstance(error, ValueError) and "_start_serving" in context["message"]:
            return  # asyncio tries again on a listener that has been closed since
        if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            loop.default_exception_handler(context)
            return
        count += 1
        if loop.time() >= quiet_until:
            log.error("no connection can be accepted: %s (%d times)", error.strerror, count)
            quiet_until, count = loop.time() + _PAUSE, 0

    loop.set_exception_handler(handle)
