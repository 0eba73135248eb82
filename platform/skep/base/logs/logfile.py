"""One log file for all processes, and how each lets go of it when it was moved away.

The file is on the descriptors 1 and 2, so it also gets what plugins print. Every process of the
platform starts with SIGUSR1 blocked and calls `follow`, so that no process dies of a signal that
comes before its handler does.
"""

import os
import signal
from pathlib import Path

from skep.base.errors import UsageError

_FLAGS = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def open_file(path: str) -> int:
    """Open a log file for appending and reading, with the directories above it; return its
    descriptor. Raises UsageError when it cannot be opened."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | _FLAGS, 0o600)
    except OSError as error:
        raise UsageError(f"The log file {path} cannot be opened: {error.strerror}.") from error


def onto(descriptor: int) -> None:
    """Send standard output and standard error to this open file; close the descriptor."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def follow(path: str) -> None:
    """Reopen the file of this name at each SIGUSR1; without a name the signal does nothing."""
    signal.signal(signal.SIGUSR1, lambda *_: reopen(path))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def reopen(path: str) -> None:
    """Reopen the file of this name. If that fails the old one is kept."""
    if not path:
        return
    try:
        onto(os.open(path, os.O_WRONLY | _FLAGS, 0o600))
    except OSError as error:
        os.write(2, f"platform: {path} cannot be opened again: {error.strerror}\n".encode())
