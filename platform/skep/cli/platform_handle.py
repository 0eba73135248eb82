"""Which platform a verb is for, and the settings it has before the config service is asked."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import click

from skep.base.errors import PlatformError
from skep.base.rundir import RunDir
from skep.cli.owner import act_as_owner, options_as_owner
from skep.config.options import Options
from skep.config.spelling import folded
from skep.supervisor.configuration import starting_layers

_KEY = "PLATFORM_DATA_DIR"


def own_options(flags: Mapping[str, Any]) -> Options:
    """Return the options of a start here with these flags; root acts as the owner of the files.
    Raises PrivilegeError, UsageError and ConfigError."""
    return options_as_owner(os.environ, flags)


def run_dir_of(flags: Mapping[str, Any]) -> RunDir:
    """Return the data directory of the platform that a start here with these flags would be.

    A running platform must be reachable, so that it can be stopped, even if `.env` cannot be read
    any more: then a warning says so, and what is not in `.env` decides. Root becomes the owner of
    the platform first.
    """
    return _run_dir(*(flags.get(name) for name in ("data_dir", "env_file", "env")))


@cache  # a verb asks again and again, and is for one platform
def _run_dir(data_dir: str | None, env_file: str | None, env: str | None) -> RunDir:
    where = {"data_dir": data_dir, "env_file": env_file, "env": env}
    act_as_owner(os.environ, where)
    named = data_dir or folded(os.environ).get(_KEY)
    if named is None:
        try:
            layers = starting_layers(os.environ, {"env_file": env_file, "env": env})
            named = folded(layers.resolve()).get(_KEY)
        except PlatformError as error:
            text = f"platform: {error} The data directory is taken to be {Options.data_dir}."
            click.echo(text, err=True)
    return RunDir(named or Options.data_dir)
