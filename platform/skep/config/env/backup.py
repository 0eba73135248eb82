"""Copies of `.env` as it was before: the newest five, readable by their owner alone."""

import time
from contextlib import suppress
from pathlib import Path

from skep.config.env import atomic

KEPT = 5
_MARK = ".bak."


def keep(path: Path, text: str) -> Path:
    """Keep the text of a file that is about to be replaced; return where.

    The file itself is not touched, so there is no moment without one. Raises OSError.
    """
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
    copy = path.with_name(f"{path.name}{_MARK}{stamp}.{now % 10**9:09}")
    # Named like the file's own temporary ones, so that what a kill leaves is swept with them.
    atomic.swap(atomic.prepare(path, text.encode()), copy)
    for old in backups(path)[:-KEPT]:
        with suppress(FileNotFoundError):
            old.unlink()
    return copy


def backups(path: Path) -> list[Path]:
    """Return the copies of a file, the oldest first."""
    head = f"{path.name}{_MARK}"
    return sorted(entry for entry in path.parent.iterdir() if entry.name.startswith(head))
