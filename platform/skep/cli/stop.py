"""`platform stop`."""

import os
import select
import sys
import time
from typing import Any

import click

from skep.base.linux import open_pidfd
from skep.cli.options import platform_options
from skep.cli.running import run_dir_of
from skep.wire import control

EXIT_TIMEOUT = 5


@click.command("stop")
@platform_options("data_dir")
@click.option("--timeout", default=60.0, show_default=True, help="How long to wait, in seconds.")
def command(timeout: float, **flags: Any) -> None:
    """Stop the running platform: requests and tasks in flight finish, then every process ends."""
    pid = control.call(run_dir_of(flags).control_socket, "stop", timeout=10.0)["pid"]
    if not _ended(pid, timeout):
        click.echo(f"platform: pid {pid} has not ended within {timeout:g} s.", err=True)
        sys.exit(EXIT_TIMEOUT)
    click.echo("Stopped.")


def _ended(pid: int, seconds: float) -> bool:
    """Wait until the process is gone; it is the last of the platform to go."""
    pidfd = open_pidfd(pid)
    if pidfd is not None:
        return bool(select.select([pidfd], [], [], seconds)[0])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
