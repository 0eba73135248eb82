"""Wait for the end of a process that is no child of ours."""

import os
import select
import time
from contextlib import suppress

from skep.base.linux import open_pidfd


class Process:
    """A process, and no later one that gets the same id."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd = open_pidfd(pid)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)

    def ended(self, seconds: float) -> bool:
        """Wait for its end, for so many seconds at most; say whether it came."""
        if self._pidfd is not None:
            return bool(select.select([self._pidfd], [], [], seconds)[0])
        with suppress(ProcessLookupError):
            os.kill(self._pid, 0)
            time.sleep(seconds)
            return False
        return True
