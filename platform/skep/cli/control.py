"""Verbs that change the running platform: `stop`, `restart`, `reload`, `scale`, `drain` …"""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from skep.base.errors import NotRunning, PlatformError, TimedOut, UsageError
from skep.base.system.linux import open_pidfd
from skep.cli.output import phase, print_sentence, show, waiting
from skep.cli.platform_handle import PlatformHandle, verb

_LOOK = 0.1
_MOST_SHOWN = 4


class _ProcessEnd:
    """The end of a process that is not a child of this one; a later process with the same id does
    not count."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd = open_pidfd(pid)

    def __enter__(self) -> "_ProcessEnd":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)

    def wait(self, seconds: float) -> bool:
        if self._pidfd is not None:
            return bool(select.select([self._pidfd], [], [], seconds)[0])
        with suppress(ProcessLookupError):
            os.kill(self._pid, 0)
            time.sleep(seconds)
            return False
        return True


@verb("stop", json=True)
@click.option("--timeout", default=60.0, show_default=True, help="How long to wait, in seconds.")
def stop(platform: PlatformHandle, timeout: float, as_json: bool) -> None:
    """Stop the running platform: requests and tasks in flight finish, then every process ends.

    The exit code is 5 if the platform has not ended in time; it is then still stopping.
    """
    began = time.monotonic()
    with waiting("stopping") as say:
        pid = platform.ask("stop")["pid"]
        with _ProcessEnd(pid) as end:
            _wait(platform, end, began + timeout, say)
            seconds = time.monotonic() - began
            if not end.wait(0):
                raise TimedOut(f"pid {pid} has not ended within {timeout:g} s.")
    show({"pid": pid, "seconds": round(seconds, 3)}, as_json, lambda ended: click.echo("Stopped."))


def _wait(
    platform: PlatformHandle, end: _ProcessEnd, deadline: float, say: Callable[[str], None]
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


@verb("restart", json=True)
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
        with _ProcessEnd(before["pid"]) as end:
            status = _until_serving(platform, before["run_id"], end, timeout, say)
    show(status, as_json, _print_restarted)


def _print_restarted(status: dict[str, Any]) -> None:
    click.echo(f"Restarted (pid {status['pid']}); generation {status['generation']}.")


def _until_serving(
    platform: PlatformHandle,
    run_id: str,
    end: _ProcessEnd,
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


@verb("reload", json=True)
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.option(
    "--task-only", is_flag=True, help="Replace the task workers; configuration and code stay."
)
def reload(platform: PlatformHandle, wait: bool, task_only: bool, as_json: bool) -> None:
    """Roll out a new generation and wait for the outcome.

    The new generation uses the present configuration and code, even if nothing has changed. The
    exit code is 1, with the reason, if the new generation was refused or rolled back; the old one
    then keeps serving.

    With --task-only there is no new generation: each task worker is replaced by one of its own
    generation, which takes tasks before the old one drains. Web workers are not affected.
    """
    with waiting("asking for new workers") as say:

        def report_phase(news: dict[str, Any]) -> None:
            say(f"generation {news['generation']}: {phase(news['phase'])}")

        command = "reload_tasks" if task_only else "reload"
        report = platform.ask(command, timeout=None, news=report_phase, wait=wait)
    show(report, as_json, print_sentence)


@verb("scale", json=True)
@click.argument("counts", nargs=-1, required=True, metavar="KIND=COUNT...")
def scale(platform: PlatformHandle, counts: tuple[str, ...], as_json: bool) -> None:
    """Change the number of workers of a KIND to COUNT: `platform scale web=4 task=2`.

    New workers are prepared before they accept; surplus workers drain, the newest first. To keep
    the numbers after a restart, set PLATFORM_WEB_WORKERS and PLATFORM_TASK_WORKERS.
    """
    wanted = [_split(text) for text in counts]
    answers = [platform.ask("scale", timeout=None, kind=k, count=n) for k, n in wanted]
    show(answers, as_json, _print_sentences)


def _print_sentences(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        print_sentence(answer)


def _split(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    if not kind or not count.isdecimal():
        raise UsageError(f"{text!r} is not KIND=COUNT: give for example web=4.")
    return kind, int(count)


@verb("drain", json=True)
def drain(platform: PlatformHandle, as_json: bool) -> None:
    """Accept no new work but keep running: connections wait, /readyz is 503, what is in flight
    finishes.

    `platform undrain` accepts work again.
    """
    show(platform.ask("drain", timeout=None), as_json, print_sentence)


@verb("undrain", json=True)
def undrain(platform: PlatformHandle, as_json: bool) -> None:
    """Accept work again after `platform drain`."""
    show(platform.ask("undrain", timeout=None), as_json, print_sentence)


@verb("log-level", json=True)
@click.argument("level", type=click.Choice(("debug", "info", "warning", "error")))
def log_level(platform: PlatformHandle, level: str, as_json: bool) -> None:
    """Set the log level of every process at once, without replacing a worker.

    The level holds until the configuration changes or a new generation is rolled out. To keep it,
    set PLATFORM_LOG_LEVEL.
    """
    show(platform.ask("log_level", level=level), as_json, _print_level)


def _print_level(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['processes']} processes log at level {answer['level']}.")
