"""`platform config unpin`."""

from typing import Any

import click

from skep.cli.options import for_platform
from skep.cli.output import print_json
from skep.cli.platform_handle import run_dir_of
from skep.wire import control


@click.command("unpin")
@for_platform
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(as_json: bool, **flags: Any) -> None:
    """Follow what is published again, after `platform config rollback`.

    What was published meanwhile is applied now. Exit code 1: it was refused.
    """
    answer = control.call(run_dir_of(flags).control_socket, "config.unpin")
    if as_json:
        print_json(answer)
    else:
        click.echo(answer["sentence"])
