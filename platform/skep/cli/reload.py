"""`platform reload`."""

from typing import Any

import click

from skep.cli.options import platform_options
from skep.cli.running import run_dir_of
from skep.wire import control


@click.command("reload")
@platform_options("data_dir")
def command(**flags: Any) -> None:
    """Roll out a new generation and wait for the outcome.

    The exit code is 1, with the reason, when the new generation was refused; the old one then goes
    on serving.
    """
    report = control.call(run_dir_of(flags).control_socket, "reload")
    click.echo(report["sentence"])
