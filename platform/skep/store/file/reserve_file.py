"""Room on the disk that is kept to be given up when there is none left.

A full disk must stop what is new, not what goes on: that a task has ended has to be written down
too. So a file that holds nothing is deleted when the disk is full, and made again when there is
room for it and more.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_PAGE = 4096
_LARGEST = 8 * 1024 * 1024
# Less than this is no room for anything new.
_RESERVE = 1024 * 1024
# The share of a small file system that the reserve file, and the log, may take.
_SHARE, _LOG_SHARE = 4, 8
_LONGEST_LOG = 4000


class ReserveFile:
    """The reserve file beside a database; `scarce` is True while nothing new may be kept."""

    def __init__(self, database: Path) -> None:
        self._file = database.with_name(f"{database.name}.ballast")
        self.scarce = False

    def give_up(self, why: str = "is full") -> None:
        """The disk was found full, or not to be there."""
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
        """Look how much room there is; return whether that changed what is accepted."""
        before = self.scarce
        try:
            self._look()
        except OSError as error:  # what was accepted now would be nowhere
            self.give_up(f"cannot be used ({error.strerror})")
        return self.scarce != before

    def _look(self) -> None:
        if self._whole():
            if self.used_up():
                self.give_up()
        elif self.free() >= self._size() + 2 * _RESERVE and self._make():
            if self.scarce:
                log.warning("The disk of %s has room again.", self._file.parent)
            self.scarce = False
        else:
            self.give_up()

    def used_up(self) -> bool:
        """Say whether there is hardly anything left on the disk."""
        return self.free() < _RESERVE

    def free(self) -> int:
        """Return how many bytes may still be written."""
        found = os.statvfs(self._file.parent)
        return found.f_bavail * found.f_frsize

    def log_pages(self) -> int:
        """Return after how many pages the log of the database is to be merged into it."""
        return max(100, min(_LONGEST_LOG, self._total() // _LOG_SHARE // _PAGE))

    def _total(self) -> int:
        found = os.statvfs(self._file.parent)
        return found.f_blocks * found.f_frsize

    def _size(self) -> int:
        return min(_LARGEST, self._total() // _SHARE)

    def _whole(self) -> bool:
        return self._file.exists() and self._file.stat().st_size == self._size()

    def _make(self) -> bool:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._size())
            else:  # macOS
                os.write(descriptor, bytes(self._size()))
        except OSError:  # somebody else was quicker
            self._file.unlink()
            return False
        finally:
            os.close(descriptor)
        return True
