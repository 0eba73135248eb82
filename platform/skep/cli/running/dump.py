"""`platform dump`."""

from typing import Any

import click

from skep.cli.output import json_option, show
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("dump")
@for_platform()
@json_option
@click.argument("slot")
def dump(platform: PlatformHandle, slot: str, as_json: bool) -> None:
    """Show the stacks of the process in SLOT: web.0, or web.0@3 for that of one generation.

    This works even if the event loop of the process is stuck, and does not disturb the process.
    `platform ps` shows the slots.
    """
    show(platform.ask("dump", slot=slot), as_json, _print)


def _print(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['name']} (pid {answer['pid']})\n\n{answer['stacks'].rstrip()}")
