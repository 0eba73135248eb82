"""Give up the privileges of root: become another user, forbid new privileges, set limits."""

import grp
import os
import pwd
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from skep.base.errors import PrivilegeError
from skep.base.system.linux import forbid_new_privileges, stay_readable

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """A user and the groups it is in."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str

    @property
    def is_ours(self) -> bool:
        """Whether this process is that user already."""
        users, groups = {os.getuid(), os.geteuid()}, {os.getgid(), os.getegid()}
        return users == {self.uid} and groups == {self.gid}


def identity(user: str, group: str) -> Identity | None:
    """Return the user and group of these names or numbers; None when both are empty.

    Without a user it is the present one, without a group the user's own. Raises PrivilegeError when
    there is no such user or group.
    """
    if not user and not group:
        return None
    named = _entry("user", user, pwd.getpwuid, pwd.getpwnam) if user else None
    entry = named or pwd.getpwuid(os.getuid())
    gid = _entry("group", group, grp.getgrgid, grp.getgrnam).gr_gid if group else entry.pw_gid
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return Identity(entry.pw_uid, gid, groups, entry.pw_name, entry.pw_dir)


def owner(uid: int, gid: int) -> Identity:
    """Return the user to whom a file of this owner and group belongs, known by name or not."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Identity(uid, gid, (gid,), str(uid), "/")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(uid, entry.pw_gid, groups, entry.pw_name, entry.pw_dir)


def become(who: Identity) -> None:
    """Become this user for good. Raises PrivilegeError when that is not allowed."""
    if who.is_ours:
        return
    try:
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
    except OSError as error:
        raise PrivilegeError(_only_root(who)) from error
    if not who.is_ours or _can_be_root_again(who):
        raise PrivilegeError(f"The privileges of root could not be given up for {who.name}.")
    stay_readable()


@contextmanager
def acting_as(who: Identity | None) -> Iterator[None]:
    """Open files with the rights of this user inside the block; root stays root.

    Raises PrivilegeError when this process is neither root nor that user.
    """
    if who is None or who.is_ours:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        os.setgroups(who.groups)
        os.setegid(who.gid)
        os.seteuid(who.uid)
    except OSError as error:
        raise PrivilegeError(_only_root(who)) from error
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def give(directory: Path, who: Identity) -> None:
    """Make a directory of ours, and what is in it, the property of this user.

    Only what root owns is given away, and no link is followed. Call it for a directory that only
    root can replace (see `ownership.changeable`).
    """
    if os.geteuid() != 0 or directory.stat().st_uid == who.uid:
        return
    for folder, _, names in os.walk(directory):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            if path.lstat().st_uid == 0:
                os.chown(path, who.uid, who.gid, follow_symlinks=False)


def restrict(files: int, core: int, *, new_privileges: bool) -> None:
    """Set the limits of this process and all it starts.

    `files` is how many descriptors each may have open, 0 for as many as is allowed; `core` is the
    largest core dump in bytes. Without `new_privileges` no program it starts gains any, setuid or
    not. Raises PrivilegeError when a limit is above what is allowed.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files or hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        resource.setrlimit(resource.RLIMIT_CORE, (core, core))
    except (OSError, ValueError) as error:
        raise PrivilegeError(
            f"The limits cannot be set (PLATFORM_RLIMIT_NOFILE {files}, PLATFORM_RLIMIT_CORE "
            f"{core}): {error}."
        ) from error
    if not new_privileges:
        forbid_new_privileges()


def _only_root(who: Identity) -> str:
    return f"Only root can become {who.name}: start as root, or leave out --user and --group."


def _entry(kind: str, name: str, by_id: Callable[[int], T], by_name: Callable[[str], T]) -> T:
    try:
        return by_id(int(name)) if name.isdecimal() else by_name(name)
    except KeyError:
        raise PrivilegeError(f"There is no {kind} {name!r}: see --{kind}.") from None


def _can_be_root_again(who: Identity) -> bool:
    if who.uid == 0:
        return False
    try:
        os.setuid(0)
    except OSError:
        return False
    return True
