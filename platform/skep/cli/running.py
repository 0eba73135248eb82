"""Which platform a verb is for, and the settings it has before the config service is asked."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import click

from skep.base.errors import PlatformError
from skep.base.rundir import RunDir
from skep.config.options import Options
from skep.config.spelling import folded
from skep.supervisor.configuration import starting_layers, starting_options

_KEY = "PLATFORM_DATA_DIR"


def own_options(flags: Mapping[str, Any]) -> Options:
    """Return the options of a start here with these flags. Raises UsageError and ConfigError."""
    return starting_options(os.environ, flags)


def run_dir_of(flags: Mapping[str, Any]) -> RunDir:
    """Return the data directory of the platform that a start here with these flags would be.

    A running platform must be reachable, so that it can be stopped, even if `.env` cannot be read
    any more: then a warning says so, and what is not in `.env` decides.
    """
    return _run_dir(*(flags.get(name) for name in ("data_dir", "env_file", "env")))


@cache  # a verb asks again and again, and is for one platform
def _run_dir(data_dir: str | None, env_file: str | None, env: str | None) -> RunDir:
    named = data_dir or folded(os.environ).get(_KEY)
    if named is None:
        try:
            layers = starting_layers(os.environ, {"env_file": env_file, "env": env})
            named = folded(layers.resolve()).get(_KEY)
        except PlatformError as error:
            text = f"platform: {error} The data directory is taken to be {Options.data_dir}."
            click.echo(text, err=True)
    return RunDir(named or Options.data_dir)
