"""`platform config rollback` and `platform config unpin`."""

from typing import Any

import click

from skep.cli.output import json_option, print_sentence, show
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("rollback")
@for_platform()
@click.argument("number", type=click.IntRange(min=1), required=False)
@json_option
def rollback(platform: PlatformHandle, number: int | None, as_json: bool) -> None:
    """Go back to the configuration before this one, or to snapshot NUMBER of the history.

    It stays applied, whatever is published, until `platform config unpin`. Exit code 1: it was
    refused, and the present configuration stays applied.
    """
    show(platform.ask("config.rollback", timeout=None, number=number or 0), as_json, _print)


def _print(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['sentence']} Snapshot {answer['number']} is in force and pinned.")


@click.command("unpin")
@for_platform()
@json_option
def unpin(platform: PlatformHandle, as_json: bool) -> None:
    """Follow what is published again, after `platform config rollback`.

    What was published since the rollback is applied now. Exit code 1: it was refused.
    """
    show(platform.ask("config.unpin", timeout=None), as_json, print_sentence)
