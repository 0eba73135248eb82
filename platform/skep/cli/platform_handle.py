"""The platform that a verb is for: the running one, or the one that would start here."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import click

from skep.base.errors import NotRunning, PlatformError
from skep.base.logs import masking
from skep.base.rundir import RunDir
from skep.cli.options import WHERE, platform_options
from skep.cli.output import json_option
from skep.cli.root import act_as_owner, options_as_owner
from skep.config.env import dotenv, secret_names
from skep.config.options.endpoints import embedded
from skep.config.options.spelling import folded
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.history import History
from skep.supervisor.config.configuration import Configurations, starting_layers
from skep.wire import control

# The supervisor answers within milliseconds unless it has something to wait for.
_PATIENCE = 10.0
_KEY = "PLATFORM_DATA_DIR"


class PlatformHandle:
    """Finds the platform that the flags of a verb choose; reads and asks only what is needed.

    A process of root's becomes the owner of the platform first. Raises PrivilegeError.
    """

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self.flags = flags
        self.base = dict(os.environ)

    @cached_property
    def run_dir(self) -> RunDir:
        """The data directory, wherever it is configured but on the config service.

        A running platform must be reachable, so that it can be stopped, even if `.env` cannot be
        read any more: then a warning says so, and the value does not come from the files.
        """
        act_as_owner(os.environ, self.flags)
        named = self.flags.get("data_dir") or folded(os.environ).get(_KEY)
        if named is None:
            named = self._data_dir_in_files()
        run_dir = RunDir(named or Options.data_dir)
        secret_names.declare_kept(run_dir.config_dir)
        return run_dir

    def _data_dir_in_files(self) -> str | None:
        where = {name: self.flags.get(name) for name in WHERE if name != "data_dir"}
        try:
            return folded(starting_layers(os.environ, where).resolve()).get(_KEY)
        except PlatformError as error:
            text = f"platform: {error} The data directory is taken to be {Options.data_dir}."
            click.echo(text, err=True)
            return None

    def ask(
        self,
        command: str,
        *,
        timeout: float | None = _PATIENCE,
        news: Callable[[dict[str, Any]], None] | None = None,
        **arguments: Any,
    ) -> Any:
        """Ask the running platform, and wait for one that is starting; see `control.call`."""
        path = self.run_dir.control_socket
        return control.call(path, command, timeout=timeout, news=news, **arguments)

    @cached_property
    def status(self) -> dict[str, Any] | None:
        """The status of the running platform, None if no platform is running. Raises as
        `starting_options`."""
        masking.declare(self.starting_options.secret_names)
        try:
            status: dict[str, Any] = self.ask("status")
        except NotRunning:
            return None
        return status

    @cached_property
    def starting_options(self) -> Options:
        """The options of a start here. Raises PrivilegeError, UsageError and ConfigError."""
        return options_as_owner(os.environ, self.flags)

    @cached_property
    def options(self) -> Options:
        """The options of a start here; a running platform's app, cluster and namespaces are its
        own, whatever the flags say. Raises as `starting_options`."""
        options, config = self.starting_options, self.status["config"] if self.status else {}
        if "url" not in config:
            return options  # not running, or not yet following a configuration
        if not options.has_service:
            options = embedded(options, config["url"], self.run_dir.configserver_dir)
        return replace(
            options,
            app_id=config["app_id"],
            cluster=config["cluster"],
            namespace=tuple(config["namespaces"]),
        )

    @cached_property
    def env_file(self) -> Path:
        """The `.env` of the running platform, or of a start here. Raises as `starting_options`."""
        if self.status is None:
            return self.starting_options.env_path
        return Path(self.status["config"]["env_file"])

    @cached_property
    def archive(self) -> Archive:
        """The snapshots of this platform. Raises as `starting_options`."""
        return Archive.of(self.options, self.run_dir.config_dir)

    @cached_property
    def history(self) -> History:
        """The snapshots that were applied before. Raises as `starting_options`."""
        return History(self.archive)

    @cached_property
    def configurations(self) -> Configurations:
        """Configurations as `platform start` makes them here. Raises as `starting_options`."""
        data_dir = self.run_dir.path
        return Configurations(self.base, self.flags, self.env_file, data_dir, self.archive)

    def applied_values(self) -> dict[str, str]:
        """Return the values that were applied last: the managed block of `.env`."""
        return dotenv.managed(dotenv.read(self.env_file), str(self.env_file))


def verb(
    name: str, *settings: str, group: click.Group | None = None, json: bool = False, **more: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a verb of a function whose first argument is the platform.

    Its options are those that choose the platform, the `settings`, and with `json` the --json that
    it receives as `as_json`.
    """
    names = (*WHERE, *settings)

    def decorate(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(**arguments: Any) -> Any:
            flags = {name: arguments.pop(name) for name in names}
            return function(PlatformHandle(flags), **arguments)

        declared = platform_options(*names)(json_option(run) if json else run)
        command: click.Command = (group or click).command(name, **more)(declared)
        return command

    return decorate
