"""`platform env …`: the effective configuration for programs other than workers."""

from pathlib import Path

import click

from skep.base.errors import ConfigError
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.env import atomic
from skep.config.env.export import FORMATS
from skep.config.env.layers import Layers


@click.group("env")
def env() -> None:
    """Write the effective configuration for shells, containers and services."""


@verb("export", group=env)
@click.option(
    "--format", "style", type=click.Choice(list(FORMATS)), default="dotenv", show_default=True
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Replace this file, readable by you alone, in one step.",
)
def export(platform: PlatformHandle, style: str, out: Path | None) -> None:
    """Print what .env.local, the config service and .env set together, with the real values.

    \b
    dotenv   for python-dotenv and programs that read files as it does
    shell    to be sourced by bash, dash and other POSIX shells
    docker   for docker run --env-file
    systemd  for EnvironmentFile= of a unit
    json     one object
    k8s      the manifest of a Secret

    If a format cannot hold a value, the key is named, nothing is written and the exit code is 4. No
    shell that sources one of these files runs a part of a value.
    """
    values = Layers.read(platform.env_file, platform.base).configured()
    text = FORMATS[style](values)
    if out is None:
        click.echo(text.encode(), nl=False)
        return
    try:
        atomic.write(out, text.encode())
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written ({error.strerror}): give another file with --out."
        ) from error
