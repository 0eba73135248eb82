"""`platform stop`."""

import time
from collections.abc import Callable
from typing import Any

import click

from skep.base.errors import PlatformError, TimedOut
from skep.cli.output import json_option, show, waiting
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.cli.running.process_end import ProcessEnd

_LOOK = 0.2
_MOST_SHOWN = 4


@click.command("stop")
@for_platform()
@json_option
@click.option("--timeout", default=60.0, show_default=True, help="How long to wait, in seconds.")
def stop(platform: PlatformHandle, timeout: float, as_json: bool) -> None:
    """Stop the running platform: requests and tasks in flight finish, then every process ends.

    The exit code is 5 if the platform has not ended in time; it is then still stopping.
    """
    began = time.monotonic()
    with waiting("stopping") as say:
        pid = platform.ask("stop")["pid"]
        with ProcessEnd(pid) as end:
            _wait(platform, end, began + timeout, say)
            seconds = time.monotonic() - began
            if not end.wait(0):
                raise TimedOut(f"pid {pid} has not ended within {timeout:g} s.")
    show({"pid": pid, "seconds": round(seconds, 3)}, as_json, lambda ended: click.echo("Stopped."))


def _wait(
    platform: PlatformHandle, end: ProcessEnd, deadline: float, say: Callable[[str], None]
) -> None:
    """Wait for the end of the supervisor, the last process, and show which workers are busy."""
    while (left := deadline - time.monotonic()) > 0 and not end.wait(min(_LOOK, left)):
        try:
            slots: list[dict[str, Any]] = platform.ask("status", timeout=1.0)["slots"]
        except PlatformError:
            continue  # it no longer answers: it is about to end
        busy = [f"{s['slot']}@{s['generation']}" for s in slots if s["generation"] and s["pid"]]
        if busy:
            rest = len(busy) - _MOST_SHOWN
            more = f" and {rest} more" if rest > 0 else ""
            say(f"stopping: {', '.join(busy[:_MOST_SHOWN])}{more} finish their work")
