"""`platform stop`."""

import time
from typing import Any

import click

from skep.base.errors import PlatformError, TimedOut
from skep.cli.asking import ask, asking, show_json
from skep.cli.output import Say, waiting
from skep.cli.running.process_end import Process

_LOOK = 0.2


@click.command("stop")
@asking
@click.option("--timeout", default=60.0, show_default=True, help="How long to wait, in seconds.")
def command(timeout: float, as_json: bool, **flags: Any) -> None:
    """Stop the running platform: requests and tasks in flight finish, then every process ends.

    The exit code is 5 when it has not ended in time; it is still stopping then.
    """
    began = time.monotonic()
    with waiting("stopping") as say:
        pid = ask(flags, "stop")["pid"]
        with Process(pid) as process:
            _wait(flags, process, began + timeout, say)
            seconds = time.monotonic() - began
            if not process.ended(0):
                raise TimedOut(f"pid {pid} has not ended within {timeout:g} s.")
    if as_json:
        show_json({"pid": pid, "seconds": round(seconds, 3)})
    else:
        click.echo("Stopped.")


def _wait(flags: dict[str, Any], process: Process, deadline: float, say: Say) -> None:
    """Wait for the end and show who is still busy. It is the last process of the platform to go."""
    while (left := deadline - time.monotonic()) > 0 and not process.ended(min(_LOOK, left)):
        try:
            slots = ask(flags, "status", timeout=1.0)["slots"]
        except PlatformError:
            continue  # it answers no more, so it is about to end
        busy = [f"{s['slot']}@{s['generation']}" for s in slots if s["generation"] and s["pid"]]
        if busy:
            more = f" and {len(busy) - 4} more" if len(busy) > 4 else ""
            say(f"stopping: {', '.join(busy[:4])}{more} finish what they have")
