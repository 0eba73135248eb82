"""Where the threads of a process were when it crashed or was aborted, for its parent to read."""

import faulthandler
import os
import tempfile

_MOST = 64 * 1024


def arm() -> int:
    """Write the stacks of all threads into a file in memory when this process crashes or gets a
    SIGABRT; return its descriptor. That works also when no Python code can run any more."""
    descriptor = _file()
    faulthandler.enable(file=descriptor, all_threads=True)
    return descriptor


def read(descriptor: int) -> str:
    """Return what has been written, through a copy of the descriptor in another process."""
    return os.pread(descriptor, _MOST, 0).decode(errors="replace").strip()


def _file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stacks")
    handle, path = tempfile.mkstemp()
    os.unlink(path)
    return handle
