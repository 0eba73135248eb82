"""`platform drain` and `platform undrain`."""

import click

from skep.cli.output import json_option, print_sentence, show
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("drain")
@for_platform()
@json_option
def drain(platform: PlatformHandle, as_json: bool) -> None:
    """Accept no new work but keep running: connections wait, /readyz is 503, what is in flight
    finishes.

    `platform undrain` accepts work again.
    """
    show(platform.ask("drain", timeout=None), as_json, print_sentence)


@click.command("undrain")
@for_platform()
@json_option
def undrain(platform: PlatformHandle, as_json: bool) -> None:
    """Accept work again after `platform drain`."""
    show(platform.ask("undrain", timeout=None), as_json, print_sentence)
