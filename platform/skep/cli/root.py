"""What the command line does as root: as little as it can, and nothing that others steer.

What another user can write, the `.env`, the plugins and the data directory, must not decide what
root runs, opens or binds. Root starts the platform to bind ports below 1024 and then becomes
another user (`--user`): until then it obeys the command line, the process environment and files
that only root can change, and reads and opens everything else with the rights of the user. A verb
on a platform of another user's acts as that user, who could do no more without root.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.base.errors import PlatformError, PrivilegeError
from skep.base.files import ownership
from skep.base.logs import logfile
from skep.base.rundir import RunDir
from skep.base.sockets.endpoint import Endpoint
from skep.base.system import privileges
from skep.base.system.privileges import Identity
from skep.cli.options import WHERE
from skep.config.options.endpoints import admin, served
from skep.config.options.resolution import resolve
from skep.config.options.spelling import folded
from skep.config.options.table import Options
from skep.supervisor.config.configuration import starting_layers, starting_options

_ROOT = frozenset({ownership.ROOT})
# Root asks no config service, and its app may be named in a file of the user's.
_NOT_OF_ROOT = frozenset({"config_server", "config_meta"})


@dataclass(frozen=True)
class RootPhase:
    """A start until it has become the user it runs as.

    `options` are all options; `trusted` are those that only root can have written, for a process
    that is not root all of them. `who` is the user to become, None to stay the present one.
    """

    options: Options
    trusted: Options
    who: Identity | None

    @classmethod
    def begin(cls, base: Mapping[str, str], flags: Mapping[str, Any]) -> "RootPhase":
        """Read the options.

        A root process that is to stay root must be the only one who can change the files that it
        reads and loads: raises PrivilegeError, naming the file, where that is not so. `--user root`
        accepts files of others. Raises UsageError and ConfigError as well.
        """
        if os.geteuid() != ownership.ROOT:
            options = starting_options(base, flags)
            return cls(options, options, privileges.identity(options.user, options.group))
        own = _without_files(base, flags)
        files = _files(own)
        if not any(ownership.changeable(file, _ROOT) for file in files):
            own = starting_options(base, flags)
        who = privileges.identity(own.user, own.group)
        with privileges.acting_as(who):
            options = starting_options(base, flags)
        if not own.user:
            used: list[Path | str] = [*files, options.data_dir, *options.plugins]
            refuse_paths_of_others(used + [options.log_file] * bool(options.log_file))
        return cls(options, own, who)

    def make_data_directory(self, run_dir: RunDir) -> None:
        """Make the data directory the user's, closed to others.

        Root makes it, and gives it to the user, where only root can write; elsewhere the user makes
        it. Raises PrivilegeError when it belongs to another user, UsageError when it cannot be
        made.
        """
        if self.who is None or self.who.is_ours:
            run_dir.create()
            return
        if self._is_left_to_root(run_dir.path, Path(self.trusted.data_dir)):
            run_dir.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            privileges.give(run_dir.path, self.who)
        with privileges.acting_as(self.who):
            run_dir.create()
        self._check(run_dir.path, f"The data directory {run_dir.path}", "--data-dir")

    def open_log(self, path: str) -> int:
        """Open a log file for appending and reading; return its descriptor.

        Root opens it, and gives it to the user, where only root can write; elsewhere the user opens
        it. Raises UsageError.
        """
        if self._is_left_to_root(Path(path), Path(self.trusted.log_file)):
            descriptor = logfile.open_file(path)
            if self.who is not None:
                os.fchown(descriptor, self.who.uid, self.who.gid)
            return descriptor
        with privileges.acting_as(self.who):
            return logfile.open_file(path)

    def endpoints(self) -> list[Endpoint]:
        """Return what root binds for the user: addresses that no file of the user's has chosen."""
        ours = (*served(self.trusted), admin(self.trusted))
        wanted = (*served(self.options), admin(self.options))
        return [endpoint for endpoint in wanted if endpoint in ours and not endpoint.path]

    def check_plugins(self) -> None:
        """Raise PrivilegeError if others than root and the user can change the plugins."""
        for folder in self.options.plugins if self._gives_up_root else ():
            self._check(Path(folder), f"The plugin folder {folder}", "--plugins", whole=True)

    @property
    def _gives_up_root(self) -> bool:
        return self.who is not None and self.who.uid != ownership.ROOT and os.geteuid() == 0

    def _is_left_to_root(self, path: Path, named: Path) -> bool:
        """Whether root itself has named this path, and only root can write there."""
        if not self._gives_up_root or path.absolute() != named.absolute():
            return False
        return ownership.changeable(path, _ROOT) is None

    def _check(self, path: Path, what: str, option: str, *, whole: bool = False) -> None:
        assert self.who is not None
        allowed = {ownership.ROOT, self.who.uid}, {ownership.ROOT, self.who.gid}
        look = ownership.changeable_within if whole else ownership.changeable
        place = look(path, *allowed)
        if place is not None:
            raise PrivilegeError(
                f"{what} can be changed by others than root and {self.who.name}, through {place} "
                f"({ownership.described(place)}): change that with chown and chmod, or name "
                f"another with {option}."
            )


def _without_files(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    keys = {f"PLATFORM_{name.upper()}" for name in _NOT_OF_ROOT}
    given = {name: value for name, value in flags.items() if name not in _NOT_OF_ROOT}
    ours = {k: v for k, v in base.items() if k.startswith("PLATFORM_") and k not in keys}
    return resolve(given, ours)


def refuse_paths_of_others(used: Iterable[Path | str]) -> None:
    """Raise PrivilegeError if this process is root and others can change one of the paths, or what
    is in it."""
    if os.geteuid() != ownership.ROOT:
        return
    for path in used:
        place = ownership.changeable_within(Path(path), _ROOT)
        if place is not None:
            raise PrivilegeError(
                f"Root would use {path}, which others can change through {place} "
                f"({ownership.described(place)}): run this as another user, or let only root write "
                "there. `platform start` takes --user NAME; --user root runs it as root all the "
                "same, as PLATFORM_USER=root does for every verb."
            )


def _files(own: Options) -> tuple[Path, Path]:
    return own.env_path, own.env_path.with_name(f"{own.env_path.name}.local")


def options_as_owner(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    """Return the options of a start here, for a verb that may load plugins or run commands.

    If the process is still root after that, only root can change the files, or PLATFORM_USER names
    root. Raises PrivilegeError, UsageError and ConfigError.
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
    by_file = _data_dir(base, own, flags, who)
    data_dir = by_file or Path(own.data_dir)
    is_named_by_root = who is not None and by_file is None and data_dir.is_dir()
    if is_named_by_root and data_dir.lstat().st_uid == ownership.ROOT:  # a link does not count
        return
    who = who or (_owner(data_dir) if data_dir.exists() else None)
    if who is not None:
        privileges.become(who)
        os.environ.update(USER=who.name, LOGNAME=who.name, HOME=who.home)


def _is_to_stay_root(base: Mapping[str, str]) -> bool:
    return folded(base).get("PLATFORM_USER") in ("root", str(ownership.ROOT))


def _named(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    """Return where the platform is, by the options and the environment of root alone."""
    said = folded(base)
    given = {name: flags.get(name) or said.get(f"PLATFORM_{name.upper()}") for name in WHERE}
    return resolve({name: value for name, value in given.items() if value}, {})


def _data_dir(
    base: Mapping[str, str], own: Options, flags: Mapping[str, Any], who: Identity | None
) -> Path | None:
    """Return the data directory that the files of the user name; None if they name none or root
    does."""
    if flags.get("data_dir") or "PLATFORM_DATA_DIR" in folded(base):
        return None
    try:
        with privileges.acting_as(who):
            layers = starting_layers(base, {"env_file": own.env_file, "env": own.env})
            named = folded(layers.resolve()).get("PLATFORM_DATA_DIR")
    except PlatformError:
        return None
    return Path(named) if named else None


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
