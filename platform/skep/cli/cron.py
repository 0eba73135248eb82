"""`platform cron …`: when crons run and ran; run one now, stop it, let it be due again."""

import difflib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import UsageError
from skep.cli.output import duration, local_time, print_sentence, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, verb
from skep.table.binding import Tables
from skep.table.journal import CronJournal, CronRun, CronState, as_document
from skep.wire.control import CommandFailed


@click.group("cron")
def cron() -> None:
    """Show when crons run and ran; run one now, stop it, let it be due again."""


@verb("ls", group=cron, json=True)
def ls(platform: PlatformHandle, as_json: bool) -> None:
    """List the crons: when each is due and ran last, how that ended, and how it stands.

    Works with a running platform and without one.
    """
    with _journal(platform) as journal:
        found = [
            _described(name, state, journal.runs(name))
            for name, state in _declared(journal).items()
        ]
    show(found, as_json, _print_crons)


@verb("history", group=cron, json=True)
@click.argument("name", metavar="CRON")
def history(platform: PlatformHandle, name: str, as_json: bool) -> None:
    """Show the last runs of a cron, the newest last: when each was due and began, how long it took,
    how it ended.

    Works with a running platform and without one.
    """
    with _journal(platform) as journal:
        known = _declared(journal)
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            names = ", ".join(known) or "none"
            raise UsageError(f"There is no cron {name}.{meant} The crons are: {names}.")
        runs = [as_document(run) for run in journal.runs(name)]
    show(runs, as_json, _print_runs)


@verb("run", group=cron, json=True)
@click.argument("name", metavar="CRON")
def run_now(platform: PlatformHandle, name: str, as_json: bool) -> None:
    """Run a cron now, whether it is due or not; return when it has begun.

    It is refused while it runs, if it does not overlap. One that is stopped can be run.
    """
    show(_ask(platform, "cron.run", name), as_json, print_sentence)


@verb("stop", group=cron, json=True)
@click.argument("name", metavar="CRON")
def stop(platform: PlatformHandle, name: str, as_json: bool) -> None:
    """Let a cron be due no more until `platform cron start`, also over rollouts and restarts.

    A run that goes on ends by itself. Moments until the start do not count as missed.
    """
    show(_ask(platform, "cron.stop", name), as_json, print_sentence)


@verb("start", group=cron, json=True)
@click.argument("name", metavar="CRON")
def start(platform: PlatformHandle, name: str, as_json: bool) -> None:
    """Let a cron be due again after `platform cron stop`, or after its code has stopped it."""
    show(_ask(platform, "cron.start", name), as_json, print_sentence)


def _ask(platform: PlatformHandle, command: str, name: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = platform.ask(command, cron=name)
    except CommandFailed as error:
        if error.code == "usage":
            raise UsageError(str(error)) from error
        raise
    return answer


@contextmanager
def _journal(platform: PlatformHandle) -> Iterator[CronJournal]:
    folder = platform.run_dir.tables_dir
    if not folder.is_dir():
        raise UsageError(f"No cron has run in {folder.parent}.")
    tables = Tables(folder)
    try:
        yield CronJournal(tables)
    finally:
        tables.close()


def _declared(journal: CronJournal) -> dict[str, CronState]:
    return {name: state for name, state in journal.states().items() if not state.undeclared}


def _described(name: str, state: CronState, runs: list[CronRun]) -> dict[str, Any]:
    ended = [run for run in runs if not run.unfinished]
    last = ended[-1] if ended else None
    return {
        "name": name,
        "when": state.terms,
        "state": _standing(state, runs),
        "next": None if state.stopped or state.ended else state.due,
        "runs": state.n,
        "missed": state.missed,
        "running": sum(run.unfinished for run in runs),
        "last": last and as_document(last),
    }


def _standing(state: CronState, runs: list[CronRun]) -> str:
    if state.stopped:
        return "stopped"
    if state.ended or state.due is None:
        return "ended"
    return "running" if any(run.unfinished for run in runs) else "ready"


def _print_crons(crons: list[dict[str, Any]]) -> None:
    rows = []
    for one in crons:
        last = one["last"] or {}
        rows.append(
            (
                escape(one["name"]),
                escape(one["when"]),
                tint(one["state"]),
                local_time(one["next"]) if one["next"] else "-",
                local_time(last["begun"]) if last else "-",
                tint(last["outcome"]) if last else "-",
                duration(last["seconds"]) if last else "-",
                str(one["runs"]),
            )
        )
    print_table(
        ("cron", "when", "state", "next", "last run", "outcome", "took", "runs"), rows,
        right=("runs",),
    )  # fmt: skip


def _print_runs(runs: list[dict[str, Any]]) -> None:
    rows = [
        (
            str(run["n"]),
            _moment(run["scheduled"]) + (" by hand" if run["by_hand"] else ""),
            f"{1000 * max(0.0, run['begun'] - run['scheduled']):.1f} ms",
            tint(run["outcome"]),
            duration(run["seconds"]),
            str(run["missed"]),
            escape(run["error"]),
        )
        for run in runs
    ]
    print_table(
        ("run", "due", "late by", "outcome", "took", "missed before", "error"), rows,
        right=("run", "late by", "missed before"),
    )  # fmt: skip


def _moment(seconds: float) -> str:
    return f"{time.strftime('%F %T', time.localtime(seconds))}.{int(seconds % 1 * 1000):03d}"
