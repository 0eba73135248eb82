"""`platform history`."""

import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.asking import ask, asking, show_json
from skep.cli.output import columns, screen, tint


@click.command("history")
@asking
@click.option("-n", "--number", default=20, show_default=True, help="How many; 50 are kept.")
def command(number: int, as_json: bool, **flags: Any) -> None:
    """Show what was done to the platform: who asked, how it went, and how long each phase took."""
    entries = ask(flags, "history")[-number:]
    if as_json:
        show_json(entries)
        return
    console = screen()
    headings = ("id", "when", "what", "outcome", "generation", "seconds", "asked by")
    table = columns(*headings, "phases", right=("id", "generation", "seconds"))
    for entry in entries:
        table.add_row(
            str(entry["id"]),
            _when(entry["began"]),
            escape(f"{entry['what']} {entry['reason']}" if _is_short(entry) else entry["what"]),
            tint(entry["outcome"]) if entry["outcome"] else f"[cyan]{entry['phase']} …[/cyan]",
            str(entry["generation"] or "-"),
            "-" if entry["seconds"] is None else f"{entry['seconds']:.2f}",
            escape(entry["requester"]),
            _phases(entry["phases"]),
        )
    console.print(table)
    for entry in entries:
        for problem in entry["problems"]:
            console.print(f"[red]{entry['id']}[/red]  {escape(problem)}", soft_wrap=True)


def _is_short(entry: dict[str, Any]) -> bool:
    """Whether the reason belongs to what was done: `scale web 4`."""
    return entry["what"] in ("scale", "log-level")


def _phases(phases: list[dict[str, Any]]) -> str:
    """Those that took long enough to be seen."""
    return ", ".join(f"{p['name']} {p['seconds']:.2f}" for p in phases if p["seconds"] >= 0.005)


def _when(seconds: float) -> str:
    form = "%H:%M:%S" if time.time() - seconds < 86400 else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(seconds))
