"""Be the only process that uses a file or a directory."""

import asyncio
import fcntl
import os
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from skep.base.errors import AlreadyRunning

_LOOK = 0.02
# struct flock: type, whence, start, length (0: all of it), process id. The locks are those of open
# files (OFD, see fcntl(2)): a `flock` cannot be asked for without taking it.
_FLOCK = struct.Struct("hhqqi4x")


@asynccontextmanager
async def held(lock: Path, complaint: str, patience: float = 5.0) -> AsyncIterator[None]:
    """Hold the kernel's lock on the file `lock` for the length of the block.

    It is gone with its holder, however that ended. Waits `patience` seconds for a former holder:
    that of a platform which was killed may be a moment behind it. Raises AlreadyRunning with the
    text of `complaint` when it does not go.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + patience
        while not take(descriptor):
            if time.monotonic() > end:
                raise AlreadyRunning(complaint)
            await asyncio.sleep(_LOOK)
        yield
    finally:
        os.close(descriptor)


def take(descriptor: int) -> bool:
    """Take the lock on an open file; return whether it was free."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
    except BlockingIOError:
        return False
    return True


def share(lock: Path) -> int:
    """Take a lock on the file `lock` that others may take too; return the descriptor that holds
    it. Raises OSError."""
    descriptor = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_held(lock: Path) -> bool:
    """Return whether a process holds the lock on the file `lock`, without taking it. False where
    the file may not be read."""
    return _is_held(lock, fcntl.F_RDLCK)


def is_shared(lock: Path) -> bool:
    """The same for a lock that several may hold."""
    return _is_held(lock, fcntl.F_WRLCK)


def _is_held(lock: Path, clashing: int) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        asked = _FLOCK.pack(clashing, 0, 0, 0, 0)
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    finally:
        os.close(descriptor)
    return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)
