"""What a verb works on: the options, the files and the directories of one platform."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import click

from skep.base import masking
from skep.base.errors import NotRunning, UsageError
from skep.cli.options import WHERE
from skep.cli.platform_handle import own_options, run_dir_of
from skep.config import connection, dotenv, secret_names
from skep.config.archive import Archive
from skep.config.history import History
from skep.config.options import Options
from skep.config.pulled import Assembly, Pulled
from skep.config.reserve import Policy, Reserve
from skep.config.trouble import ApolloError, TooSlow
from skep.supervisor.configuration import Configurations
from skep.wire import control

# The settings that say where the files lie, and whose configuration is wanted from where.
SOURCE = (
    *("config_server", "config_meta", "config_secret_file", "config_ca", "config_ip"),
    *("app_id", "cluster", "data_center", "config_label", "namespace"),
    *WHERE,
)


class Site:
    """One platform as a verb finds it: running, or as it would start here.

    `status` is what the running one says, None when none runs. Of a running one the app, cluster,
    namespaces and `.env` are its own, whatever the flags say. Raises UsageError and ConfigError as
    `platform start` would.
    """

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self.base = dict(os.environ)
        self.flags = flags
        options = own_options(flags)
        self.run_dir = run_dir_of(flags)
        masking.declare(options.secret_names)
        secret_names.declare_kept(self.run_dir.config_dir)
        self.status = self._status()
        self.env_file = options.env_path
        self.options = options
        if self.status is not None:
            self.env_file = Path(self.status["config"]["env_file"])
            self.options = _as_it_runs(options, self.status["config"])

    @cached_property
    def archive(self) -> Archive:
        """The snapshots of this platform."""
        return Archive.of(self.options, self.run_dir.config_dir)

    @cached_property
    def history(self) -> History:
        """What was applied before."""
        return History(self.archive)

    @cached_property
    def configurations(self) -> Configurations:
        """Configurations as `platform start` would make them here."""
        return Configurations(self.base, self.flags, self.env_file, self.run_dir.path, self.archive)

    def in_force(self) -> dict[str, str]:
        """Return the values that were put in force last: the managed block of `.env`."""
        return dotenv.managed(dotenv.read(self.env_file), str(self.env_file))

    def pull(self) -> Assembly:
        """Return what is published; a namespace without a usable release keeps what it has. Raises
        ConfigError, UsageError if there is no server to ask."""
        if not self.options.has_service:
            raise UsageError(
                "Which config server is to be asked? Name it with --config-server; the platform's "
                "own runs only while the platform does."
            )
        policy = self.options.config_policy
        if policy == "require" and self.status is not None:
            policy = "cache"  # what runs has started already
        reserve = Reserve(self.archive, self.env_file, cast("Policy", policy))
        return asyncio.run(_pull(self.options)).assemble(lambda name, error: reserve.kept(name))

    def release_key(self, namespace: str) -> str:
        """Return the key of the release of a namespace that is published. Raises ConfigError."""
        found = asyncio.run(_pull(replace(self.options, namespace=(namespace,)))).found[namespace]
        if isinstance(found, ApolloError):
            raise found
        return found.release_key

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask the running platform. Raises NotRunning when there is none."""
        return control.call(self.run_dir.control_socket, command, **arguments)

    def _status(self) -> dict[str, Any] | None:
        try:
            status: dict[str, Any] = control.call(
                self.run_dir.control_socket, "status", timeout=10.0
            )
        except NotRunning:
            return None
        return status


def _as_it_runs(options: Options, config: Mapping[str, Any]) -> Options:
    if "url" not in config:
        return options  # it has only just begun
    return replace(
        options,
        # The address as we know it may have a password in it; the one that is told never has.
        config_server=options.config_server or (config["url"],),
        app_id=config["app_id"],
        cluster=config["cluster"],
        namespace=tuple(config["namespaces"]),
    )


def print_held(assembly: Assembly) -> None:
    """Print to standard error which namespaces differ from what is published, and why."""
    for held in assembly.held:
        click.echo(held.sentence, err=True)


async def _pull(options: Options) -> Pulled:
    apollo = connection.apollo(options)
    try:
        async with asyncio.timeout(options.config_timeout):
            return await apollo.pull()
    except TimeoutError:
        seconds = options.config_timeout
        text = f"The config server {apollo.url} did not answer within {seconds:g} s."
        raise TooSlow(text) from None
    finally:
        await apollo.close()
