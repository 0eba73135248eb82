"""Who can change a path: what root does must not be steered by files that others write."""

import os
import pwd
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = 0


def changeable(path: Path, uids: Collection[int], gids: Collection[int] = (ROOT,)) -> Path | None:
    """Return the place through which a user who is not in `uids` can change what `path` names.

    That is the file or directory itself or a directory above it, of the name as given and of where
    its links lead. None means that only `uids`, and members of the groups `gids`, can. In a
    directory with the sticky bit, as /tmp, others cannot replace what they do not own. What does
    not exist yet counts as its directory. Access control lists are not looked at.
    """
    target = path.absolute()
    for place in _places(target):
        try:
            found = place.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(found.st_mode):
            continue  # who can replace it is a matter of its directory
        sticky = place != target and bool(found.st_mode & stat.S_ISVTX)
        if found.st_uid not in uids or (_opened(found, gids) and not sticky):
            return place
    return None


def described(path: Path) -> str:
    """Return owner and mode for people: `owner shop, mode 775`."""
    found = path.stat()
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        name = str(found.st_uid)
    return f"owner {name}, mode {stat.S_IMODE(found.st_mode):o}"


def _places(path: Path) -> Iterator[Path]:
    """Yield the path and all directories above it, from the root down; links as well as targets."""
    real = Path(os.path.realpath(path))
    for end in (path, real):
        yield from (*reversed(end.parents), end)


def _opened(found: os.stat_result, gids: Collection[int]) -> bool:
    """Return whether the mode lets others write: everyone, or a group that is not in `gids`."""
    by_group = bool(found.st_mode & stat.S_IWGRP) and found.st_gid not in gids
    return by_group or bool(found.st_mode & stat.S_IWOTH)
