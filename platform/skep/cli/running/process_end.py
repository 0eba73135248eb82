"""Wait for the end of a process that is not a child of this one."""

import os
import select
import time
from contextlib import suppress

from skep.base.system.linux import open_pidfd


class ProcessEnd:
    """The end of one process; a later process with the same id does not count."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd = open_pidfd(pid)

    def __enter__(self) -> "ProcessEnd":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)

    def wait(self, seconds: float) -> bool:
        if self._pidfd is not None:
            return bool(select.select([self._pidfd], [], [], seconds)[0])
        with suppress(ProcessLookupError):
            os.kill(self._pid, 0)
            time.sleep(seconds)
            return False
        return True
