"""Who can change a path: what root does must not be steered by files that others write."""

import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path

ROOT = 0
_ACCESS_LIST = "system.posix_acl_access"
_ENTERED_BY_OTHERS = stat.S_IXGRP | stat.S_IXOTH


def changeable(path: Path, uids: Collection[int], gids: Collection[int] = (ROOT,)) -> Path | None:
    """Return the place through which a user who is not in `uids` can change what `path` names.

    That is the file or directory itself or a directory above it, of the name as given and of where
    its links lead. None means that only `uids`, and members of the groups `gids`, can. In a
    directory with the sticky bit, as /tmp, others cannot replace what they do not own, but they can
    make what does not exist yet. Who may write to a device does not matter.
    """
    target = path.absolute()
    ends = (target, Path(os.path.realpath(target)))
    return next(filter(None, (_changeable(end, uids, gids) for end in ends)), None)


def changeable_within(
    folder: Path, uids: Collection[int], gids: Collection[int] = (ROOT,)
) -> Path | None:
    """Return what `changeable` does, for a folder or for anything in it.

    A link in the folder itself is followed to what is below its target; of a link further down only
    the target counts. In a directory that others cannot enter, the modes of files do not matter.
    """
    place = changeable(folder, uids, gids)
    if place is not None or not folder.is_dir():
        return place
    links = [path for path in folder.iterdir() if path.is_symlink() and path.is_dir()]
    places = (_changed_below(top, uids, gids, reachable=True) for top in (folder, *links))
    return next(filter(None, places), None)


def described(path: Path) -> str:
    """Return owner and mode for people: `owner shop, mode 775`."""
    found = path.stat()
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        name = str(found.st_uid)
    return f"owner {name}, mode {stat.S_IMODE(found.st_mode):o}"


def _changeable(end: Path, uids: Collection[int], gids: Collection[int]) -> Path | None:
    """Look from the root down; of links, who can replace them is a matter of their directory."""
    for place in (*reversed(end.parents), end):
        try:
            found = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            # The sticky bit of the last directory does not keep others from making the file.
            above = place.parent
            free = not above.is_symlink() and _opened(above, above.lstat(), gids)
            return above if free else None
        if stat.S_ISLNK(found.st_mode) or stat.S_ISCHR(found.st_mode):
            continue
        sticky = place != end and bool(found.st_mode & stat.S_ISVTX)
        if found.st_uid not in uids or (_opened(place, found, gids) and not sticky):
            return place
    return None


def _changed_below(
    directory: Path, uids: Collection[int], gids: Collection[int], *, reachable: bool
) -> Path | None:
    """Return the first place below a directory that others can change, or that belongs to them."""
    try:
        reachable = reachable and bool(directory.stat().st_mode & _ENTERED_BY_OTHERS)
        below = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None
    for path in below:
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        place = None
        if stat.S_ISLNK(found.st_mode):
            place = changeable(path, uids, gids)
        elif found.st_uid not in uids or (reachable and _opened(path, found, gids)):
            place = path
        elif stat.S_ISDIR(found.st_mode):
            place = _changed_below(path, uids, gids, reachable=reachable)
        if place is not None:
            return place
    return None


def _opened(path: Path, found: os.stat_result, gids: Collection[int]) -> bool:
    """Return whether the mode lets others write: everyone, or a group that is not in `gids`.

    Where there is an access control list, the bits of the group are those of all it names.
    """
    if found.st_mode & stat.S_IWGRP and (found.st_gid not in gids or _has_list(path)):
        return True
    return bool(found.st_mode & stat.S_IWOTH)


def _has_list(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, _ACCESS_LIST, follow_symlinks=False))
    except OSError:
        return False
