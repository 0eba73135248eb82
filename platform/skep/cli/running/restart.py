"""`platform restart`."""

import sys
import time
from typing import Any

import click

from skep.base.errors import NotRunning, PlatformError, TimedOut
from skep.cli.asking import ask, asking, show_json
from skep.cli.output import Say, phase, waiting
from skep.cli.running.process_end import Process

_LOOK = 0.1


@click.command("restart")
@asking
@click.option("--timeout", default=120.0, show_default=True, help="How long to wait, in seconds.")
@click.option(
    "-x", "--x-version", metavar="TEXT", help="What plugins find in the variable X_VERSION."
)
def command(timeout: float, x_version: str | None, as_json: bool, **flags: Any) -> None:
    """Start the platform anew, supervisor included, as after an upgrade of the platform itself or a
    change of an option that takes a restart.

    First it is checked whether the new one would start; if not, nothing happens and the exit code
    is 1. The listening sockets stay open: connections that come while it restarts wait. For new
    code of plugins `platform reload` is the better way, because nobody waits.
    """
    more = ["--x-version", x_version] if x_version else []
    with waiting("restarting") as say:
        news = lambda told: say(f"restarting: {phase(told['phase'])}")  # noqa: E731
        before = ask(flags, "restart", timeout=None, news=news, more=more)
        with Process(before["pid"]) as process:
            document = _until_serving(flags, before["run_id"], process, timeout, say)
    if as_json:
        show_json(document)
    else:
        click.echo(f"Restarted (pid {document['pid']}); generation {document['generation']}.")
    sys.exit(0)


def _until_serving(
    flags: dict[str, Any], run_id: str, process: Process, timeout: float, say: Say
) -> dict[str, Any]:
    """Wait for the first generation of the supervisor that comes after this run."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.ended(_LOOK):
            raise NotRunning("The platform has ended while it restarted; its log says why.")
        try:
            document: dict[str, Any] = ask(flags, "status")
        except PlatformError:
            continue  # between the two of them nobody answers
        say(f"restarting: {document['state']}")
        if document["run_id"] != run_id and document["generation"]:
            return document
    raise TimedOut(f"The platform does not serve again after {timeout:g} s; its log says why.")
