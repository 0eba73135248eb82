"""A file that reserves disk space.

A full disk must stop new deliveries, not running ones: the end of a task has to be written too. So
an empty file is deleted when the disk is full, and made again when there is space for it and more.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_PAGE = 4096
_LARGEST = 8 * 1024 * 1024
# With less space than this, new deliveries are refused.
_RESERVE = 1024 * 1024
# The share of a small file system that the reserve file, and the log, may take.
_SHARE, _LOG_SHARE = 4, 8
_LONGEST_LOG = 4000


class ReserveFile:
    """The reserve file beside a database; `scarce` is True while new deliveries are refused."""

    def __init__(self, database: Path) -> None:
        self._file = database.with_name(f"{database.name}.ballast")
        self.scarce = False

    def delete(self, why: str = "is full") -> None:
        """Free the space, because the disk is full or unusable; refuse new deliveries."""
        if not self.scarce:
            log.critical(
                "The disk of %s %s: deliveries are refused until there is room again. What is "
                "kept already goes on.",
                self._file.parent,
                why,
            )
        self.scarce = True
        with suppress(OSError):
            self._file.unlink()

    def check(self) -> bool:
        """Measure the free space; return whether `scarce` has changed."""
        before = self.scarce
        try:
            if self._file.exists() and self._file.stat().st_size == self._size():
                if self.used_up():
                    self.delete()
            elif self.free() >= self._size() + 2 * _RESERVE and self._make():
                if self.scarce:
                    log.warning("The disk of %s has room again.", self._file.parent)
                self.scarce = False
            else:
                self.delete()
        except OSError as error:
            self.delete(f"cannot be used ({error.strerror})")
        return self.scarce != before

    def used_up(self) -> bool:
        """Return whether the disk is almost full."""
        return self.free() < _RESERVE

    def free(self) -> int:
        """Return the free bytes."""
        found = os.statvfs(self._file.parent)
        return found.f_bavail * found.f_frsize

    def log_pages(self) -> int:
        """Return at how many pages the log is merged into the database."""
        return max(100, min(_LONGEST_LOG, self._total() // _LOG_SHARE // _PAGE))

    def _total(self) -> int:
        found = os.statvfs(self._file.parent)
        return found.f_blocks * found.f_frsize

    def _size(self) -> int:
        return min(_LARGEST, self._total() // _SHARE)

    def _make(self) -> bool:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._size())
            else:  # macOS
                os.write(descriptor, bytes(self._size()))
        except OSError:  # another process took the space
            self._file.unlink()
            return False
        finally:
            os.close(descriptor)
        return True
