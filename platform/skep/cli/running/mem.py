"""`platform mem`."""

from typing import Any

import click

from skep.cli.output import json_option, show, size
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("mem")
@for_platform()
@click.option("--seconds", default=10.0, show_default=True, help="How long to watch.")
@click.option("--top", default=10, show_default=True, help="How many lines of source per worker.")
@json_option
def mem(platform: PlatformHandle, seconds: float, top: int, as_json: bool) -> None:
    """Show which lines of source make workers grow.

    Every allocation of every worker is recorded for some seconds; what is still allocated at the
    end is shown, the largest first. Keep up the usual load, and watch twice: what grows both times
    is a leak. Workers run at about half their speed while they are watched.
    """
    show(platform.ask("mem", timeout=None, seconds=seconds, top=top), as_json, _print)


def _print(workers: list[dict[str, Any]]) -> None:
    for worker in workers:
        before, after = map(size, worker["resident"])
        click.echo(f"{worker['worker']} (pid {worker['pid']}): {before}, now {after}")
        for row in worker["growth"]:
            line = f"{row['file']}:{row['line']}"
            click.echo(f"  {size(row['bytes']):>10}  {row['blocks']:>7} blocks  {line}")
