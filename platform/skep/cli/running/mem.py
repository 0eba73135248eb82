"""`platform mem`."""

import json
from typing import Any

import click

from skep.cli.options import for_platform
from skep.cli.platform_handle import run_dir_of
from skep.wire import control

_UNITS = ((1024 * 1024, "MiB"), (1024, "KiB"))


@click.command("mem")
@for_platform
@click.option("--seconds", default=10.0, show_default=True, help="How long to watch.")
@click.option("--top", default=10, show_default=True, help="How many lines of source per worker.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(seconds: float, top: int, as_json: bool, **flags: Any) -> None:
    """Show by source line what makes workers grow.

    Every allocation of every worker is recorded for a while; what is still there at the end is
    shown, the most first. Have the site asked meanwhile as usual, and watch twice: what grows both
    times is a leak. While they are watched workers run at about half their speed.
    """
    socket = run_dir_of(flags).control_socket
    workers = control.call(socket, "mem", seconds=seconds, top=top)
    if as_json:
        click.echo(json.dumps(workers, indent=2))
        return
    for worker in workers:
        _show(worker)


def _show(worker: dict[str, Any]) -> None:
    before, after = worker["resident"]
    click.echo(f"{worker['worker']} (pid {worker['pid']}): {_size(before)}, now {_size(after)}")
    for row in worker["growth"]:
        place = f"{row['file']}:{row['line']}"
        click.echo(f"  {_size(row['bytes']):>10}  {row['blocks']:>7} blocks  {place}")


def _size(number: int) -> str:
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number} B"
