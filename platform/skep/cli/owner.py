"""Verbs of root's on a platform of another user's: they act as that user.

What the user can write, the `.env`, the plugins and the data directory, must not decide what root
runs, reads or writes. With the rights of the user it can decide no more than the user could anyhow.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skep.base.errors import PlatformError
from skep.base.files import ownership
from skep.base.system import privileges
from skep.base.system.privileges import Identity
from skep.cli.root_phase import refuse_paths_of_others
from skep.config.options.resolution import resolve
from skep.config.options.spelling import folded
from skep.config.options.table import Options
from skep.supervisor.config.configuration import starting_layers, starting_options

_ROOT = frozenset({ownership.ROOT})
_WHERE = ("data_dir", "env_file", "env")


def options_as_owner(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    """Return the options of a start here, for a verb that may load plugins or run commands.

    A process that is root still has then only files that root alone can change, or PLATFORM_USER
    names root. Raises PrivilegeError, UsageError and ConfigError.
    """
    act_as_owner(base, flags)
    if os.geteuid() != ownership.ROOT or _is_to_stay_root(base):
        return starting_options(base, flags)
    refuse_paths_of_others(_files(_named(base, flags)))
    options = starting_options(base, flags)
    refuse_paths_of_others((options.data_dir, *options.plugins))
    return options


def act_as_owner(base: Mapping[str, str], flags: Mapping[str, Any]) -> None:
    """Become the user whose platform it is, for good, if this process is root.

    That is the owner of `.env`, or of the directory where it would be; where only root can change
    that, the owner of the data directory. Root stays root for a data directory of its own that it
    has named, or that is the default one: `start --user root` makes such a directory among files of
    another user's. PLATFORM_USER=root lets root stay root anyhow. Raises PrivilegeError.
    """
    if os.geteuid() != ownership.ROOT or _is_to_stay_root(base):
        return
    own = _named(base, flags)
    who = next(filter(None, map(_owner, _files(own))), None)
    data_dir, by_file = Path(own.data_dir), _data_dir(base, own, flags, who)
    if by_file is not None:
        data_dir = by_file
    if who is not None and by_file is None and _belongs_to_root(data_dir):
        return
    who = who or (_owner(data_dir) if data_dir.exists() else None)
    if who is not None:
        privileges.become(who)
        os.environ.update(USER=who.name, LOGNAME=who.name, HOME=who.home)


def _is_to_stay_root(base: Mapping[str, str]) -> bool:
    return folded(base).get("PLATFORM_USER") in ("root", str(ownership.ROOT))


def _named(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    """Return where the platform is as far as root itself has said so."""
    said = folded(base)
    given = {name: flags.get(name) or said.get(f"PLATFORM_{name.upper()}") for name in _WHERE}
    return resolve({name: value for name, value in given.items() if value}, {})


def _files(own: Options) -> tuple[Path, Path]:
    return own.env_path, own.env_path.with_name(f"{own.env_path.name}.local")


def _data_dir(
    base: Mapping[str, str], own: Options, flags: Mapping[str, Any], who: Identity | None
) -> Path | None:
    """Return the data directory that the files of the user name, None if it is not they who do."""
    if flags.get("data_dir") or "PLATFORM_DATA_DIR" in folded(base):
        return None
    try:
        with privileges.acting_as(who):
            layers = starting_layers(base, {"env_file": own.env_file, "env": own.env})
            named = folded(layers.resolve()).get("PLATFORM_DATA_DIR")
    except PlatformError:
        return None
    return Path(named) if named else None


def _belongs_to_root(directory: Path) -> bool:
    """Whether it is a directory of root's, and no link to one."""
    return directory.is_dir() and directory.lstat().st_uid == ownership.ROOT


def _owner(path: Path) -> Identity | None:
    """Return the user other than root to whom a path belongs, or the directory through which it can
    be changed; None if there is none."""
    place = ownership.changeable(path, _ROOT)
    if place is None:
        return None
    for found in (path, place):
        if os.path.lexists(found) and (status := found.lstat()).st_uid != ownership.ROOT:
            return privileges.owner(status.st_uid, status.st_gid)
    return None
