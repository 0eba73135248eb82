"""What a start does while it is still root: as little as it can, and nothing that others steer.

Root starts the platform to bind ports below 1024 and then becomes another user (`--user`). What
that user or a third one can write must not decide what root opens or binds. So root obeys the
command line, the process environment and files that only root can change; everything else is read
and opened with the rights of the user.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.base.errors import PrivilegeError
from skep.base.files import ownership
from skep.base.logs import logfile
from skep.base.rundir import RunDir
from skep.base.sockets.endpoint import Endpoint
from skep.base.system import privileges
from skep.base.system.privileges import Identity
from skep.config.options.endpoints import admin, served
from skep.config.options.resolution import resolve
from skep.config.options.table import Options
from skep.supervisor.config.configuration import starting_options

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
        files = (own.env_path, own.env_path.with_name(f"{own.env_path.name}.local"))
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
