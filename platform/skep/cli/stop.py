"""`platform stop`."""

import os
import sys
import time
from typing import Any

import click

from skep.base.errors import AlreadyRunning
from skep.base.rundir import RunDir
from skep.cli.options import platform_options
from skep.cli.running import run_dir_of
from skep.wire import control

EXIT_TIMEOUT = 5


@click.command("stop")
@platform_options("data_dir")
@click.option("--timeout", default=60.0, show_default=True, help="How long to wait, in seconds.")
def command(timeout: float, **flags: Any) -> None:
    """Stop the running platform: requests and tasks in flight finish, then every process ends."""
    run_dir = run_dir_of(flags)
    pid = control.call(run_dir.control_socket, "stop", timeout=10.0)["pid"]
    if not _ended(run_dir, pid, time.monotonic() + timeout):
        click.echo(f"platform: pid {pid} has not ended within {timeout:g} s.", err=True)
        sys.exit(EXIT_TIMEOUT)
    click.echo("Stopped.")


def _ended(run_dir: RunDir, pid: int, deadline: float) -> bool:
    """Wait until nobody holds the data directory and the process that did is gone."""
    while time.monotonic() < deadline:
        try:
            os.close(run_dir.lock())
            os.kill(pid, 0)
        except AlreadyRunning:
            pass
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
