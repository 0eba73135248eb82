"""Wait for children that have ended, so that none stays a zombie."""

import os
from collections.abc import Iterator


def ended_children() -> Iterator[tuple[int, int]]:
    """Wait for each child of this process that has ended by now; yield its id and wait status."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status
