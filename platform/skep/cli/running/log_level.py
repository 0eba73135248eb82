"""`platform log-level`."""

from typing import Any

import click

from skep.cli.output import json_option, show
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("log-level")
@for_platform()
@json_option
@click.argument("level", type=click.Choice(("debug", "info", "warning", "error")))
def log_level(platform: PlatformHandle, level: str, as_json: bool) -> None:
    """Set the log level of every process at once, without replacing a worker.

    The level holds until the configuration changes or a new generation is rolled out. To keep it,
    set PLATFORM_LOG_LEVEL.
    """
    show(platform.ask("log_level", level=level), as_json, _print)


def _print(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['processes']} processes log at level {answer['level']}.")
