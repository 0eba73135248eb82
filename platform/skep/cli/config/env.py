"""`platform env …`: the effective configuration for those who are no workers of the platform."""

from pathlib import Path
from typing import Any

import click

from skep.base.errors import ConfigError
from skep.cli.options import for_platform
from skep.cli.site import Site
from skep.config import atomic
from skep.config.export import FORMATS
from skep.config.layers import Layers


@click.group("env")
def command() -> None:
    """Write the effective configuration for shells, containers and services."""


@command.command("export")
@for_platform
@click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), default="dotenv", show_default=True
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, readable by you alone, in one step.",
)
def export(style: str, out: Path | None, **flags: Any) -> None:
    """Print what .env.local, the config service and .env set together, with its real values.

    \b
    dotenv   for python-dotenv and what reads like it
    shell    to be sourced by bash, dash and other POSIX shells
    docker   for docker run --env-file
    systemd  for EnvironmentFile= of a unit
    json     one object
    k8s      the manifest of a Secret

    A value that a format cannot hold is named, nothing is written and the exit code is 4. No shell
    that sources any of these runs a part of a value.
    """
    site = Site(flags)
    values = Layers.read(site.env_file, site.base).configured()
    text = FORMATS[style](values)
    if out is None:
        click.echo(text.encode(), nl=False)
        return
    try:
        atomic.write(out, text.encode())
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}).") from error
