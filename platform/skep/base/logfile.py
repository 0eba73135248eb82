"""One log file for all processes, and how each lets go of it when it was moved away.

The file is on the descriptors 1 and 2, so it also gets what plugins print. Every process of the
platform starts with SIGUSR1 blocked and calls `follow`, so that no process dies of a signal that
comes before its handler does.
"""

import os
import signal
from pathlib import Path

from skep.base.errors import UsageError


def onto(path: str) -> int:
    """Let standard output and standard error go to the end of this file; return its descriptor,
    which is that of standard error.

    Raises UsageError when it cannot be opened.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _reopen(path)
    except OSError as error:
        raise UsageError(f"The log file {path} cannot be opened: {error.strerror}.") from error
    return 2


def follow(path: str) -> None:
    """Open the file of this name anew at each SIGUSR1; without a name the signal does nothing."""
    signal.signal(signal.SIGUSR1, lambda *_: reopen(path))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def reopen(path: str) -> None:
    """Open the file of this name anew. If that fails the old one is kept."""
    if not path:
        return
    try:
        _reopen(path)
    except OSError as error:
        os.write(2, f"platform: {path} cannot be opened anew: {error.strerror}\n".encode())


def _reopen(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
