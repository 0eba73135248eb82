"""`platform config rollback`."""

from typing import Any

import click

from skep.cli.options import for_platform
from skep.cli.output import print_json
from skep.cli.platform_handle import run_dir_of
from skep.wire import control


@click.command("rollback")
@for_platform
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(number: int | None, as_json: bool, **flags: Any) -> None:
    """Go back to the configuration before this one, or to snapshot NUMBER of the history.

    It stays in force whatever is published, until `platform config unpin`. Exit code 1: it was
    refused, and what was in force goes on.
    """
    answer = control.call(run_dir_of(flags).control_socket, "config.rollback", number=number or 0)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{answer['sentence']} Snapshot {answer['number']} is in force and pinned.")
