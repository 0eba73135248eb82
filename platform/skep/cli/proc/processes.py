"""`platform proc ls` and `platform proc restart`."""

import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.output import duration, print_sentence, print_table, show, tint, waiting
from skep.cli.platform_handle import PlatformHandle, verb

_HEADINGS = ("process", "slot", "state", "pid", "age", "ends", "last end", "restart", "required")


@verb("ls", json=True)
def ls(platform: PlatformHandle, as_json: bool) -> None:
    """List the custom processes of the running platform.

    The state is one of starting, prepared, going, ready, draining, hung, backoff (it waits before
    it is started again), done (it has ended and is not started again), failed (the same, and its
    exit code was not 0), disabled, and left out (by PLATFORM_KINDS). `ends` counts how often one
    has ended in this generation.
    """
    show(platform.ask("proc.ls"), as_json, _print_processes)


def _print_processes(rows: list[dict[str, Any]]) -> None:
    print_table(_HEADINGS, map(_row, rows), right=("pid", "age", "ends"))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    wait = row["next_start_in"]
    state = tint(row["state"])
    return (
        escape(row["process"]),
        "-" if row["slot"] is None else row["slot"].rpartition(".")[2],
        state if wait is None else f"{state} {duration(wait)}",
        str(row["pid"] or "-"),
        duration(row["age"]),
        str(row["ends"]),
        _last_end(row),
        row["restart"],
        "yes" if row["required"] else "-",
    )


def _last_end(row: dict[str, Any]) -> str:
    if row["last_end_at"] is None:
        return "-"
    return escape(f"{row['last_end']}, {duration(time.time() - row['last_end_at'])} ago")


@verb("restart", json=True)
@click.argument("name")
def restart(platform: PlatformHandle, name: str, as_json: bool) -> None:
    """Restart the process NAME, or all processes of the class NAME, one after the other.

    Each has its `stop_timeout` to end, and is then started again, also one that is done, has
    failed or waits in backoff. The exit code is 1 if one does not become ready.
    """
    with waiting("restarting") as say:

        def report_phase(news: dict[str, Any]) -> None:
            say(news["phase"])

        answer = platform.ask("proc.restart", timeout=None, news=report_phase, name=name)
    show(answer, as_json, print_sentence)
