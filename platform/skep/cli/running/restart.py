"""`platform restart`."""

import time
from collections.abc import Callable
from typing import Any

import click

from skep.base.errors import NotRunning, PlatformError, TimedOut
from skep.cli.output import json_option, phase, show, waiting
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.cli.running.process_end import ProcessEnd

_LOOK = 0.1


@click.command("restart")
@for_platform()
@json_option
@click.option("--timeout", default=120.0, show_default=True, help="How long to wait, in seconds.")
@click.option("-x", "--x-version", metavar="TEXT", help="The variable X_VERSION of plugins.")
def restart(platform: PlatformHandle, timeout: float, x_version: str | None, as_json: bool) -> None:
    """Restart the platform, supervisor included, as after an upgrade of the platform itself or a
    change of an option that needs a restart.

    The platform checks first whether it would start again; if not, nothing happens and the exit
    code is 1. The listening sockets stay open: new connections wait during the restart. For new
    code of plugins use `platform reload`: no connection waits.
    """
    more = ["--x-version", x_version] if x_version else []
    with waiting("restarting") as say:

        def report_phase(news: dict[str, Any]) -> None:
            say(f"restarting: {phase(news['phase'])}")

        before = platform.ask("restart", timeout=None, news=report_phase, more=more)
        with ProcessEnd(before["pid"]) as end:
            status = _until_serving(platform, before["run_id"], end, timeout, say)
    show(status, as_json, _print)


def _print(status: dict[str, Any]) -> None:
    click.echo(f"Restarted (pid {status['pid']}); generation {status['generation']}.")


def _until_serving(
    platform: PlatformHandle,
    run_id: str,
    end: ProcessEnd,
    timeout: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Wait for the first generation of the supervisor that follows this run; return its status."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if end.wait(_LOOK):
            raise NotRunning("The platform ended during the restart; its log says why.")
        try:
            status: dict[str, Any] = platform.ask("status")
        except PlatformError:
            continue  # the old supervisor has gone, the new one does not answer yet
        say(f"restarting: {status['state']}")
        if status["run_id"] != run_id and status["generation"]:
            return status
    raise TimedOut(f"The platform does not serve again after {timeout:g} s; its log says why.")
