"""`platform history`."""

import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.output import json_option, print_markup, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, for_platform

_HEADINGS = ("id", "when", "what", "outcome", "generation", "seconds", "asked by", "phases")
_NUMBERS = ("id", "generation", "seconds")
_SECONDS_OF_DAY = 86400
_SHORTEST_PHASE = 0.005  # shows as 0.01 s


@click.command("history")
@for_platform()
@click.option("-n", "--number", default=20, show_default=True, help="How many; 50 are kept.")
@json_option
def history(platform: PlatformHandle, number: int, as_json: bool) -> None:
    """Show what was done to the platform: who asked for it, its outcome, and how long each phase
    took."""
    show(platform.ask("history")[-number:], as_json, _print)


def _print(entries: list[dict[str, Any]]) -> None:
    print_table(_HEADINGS, map(_row, entries), right=_NUMBERS)
    for entry in entries:
        for problem in entry["problems"]:
            print_markup(f"[red]{entry['id']}[/red]  {escape(problem)}")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    with_reason = entry["what"] in ("scale", "log-level")  # `scale web 4`
    return (
        str(entry["id"]),
        _when(entry["began"]),
        escape(f"{entry['what']} {entry['reason']}" if with_reason else entry["what"]),
        tint(entry["outcome"]) if entry["outcome"] else f"[cyan]{entry['phase']} …[/cyan]",
        str(entry["generation"] or "-"),
        "-" if entry["seconds"] is None else f"{entry['seconds']:.2f}",
        escape(entry["requester"]),
        _phases(entry["phases"]),
    )


def _phases(phases: list[dict[str, Any]]) -> str:
    long = [phase for phase in phases if phase["seconds"] >= _SHORTEST_PHASE]
    return ", ".join(f"{phase['name']} {phase['seconds']:.2f}" for phase in long)


def _when(seconds: float) -> str:
    form = "%H:%M:%S" if time.time() - seconds < _SECONDS_OF_DAY else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(seconds))
