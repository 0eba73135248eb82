"""`platform config history`."""

import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape

from skep.cli.options import for_platform
from skep.cli.output import print_json, print_table
from skep.cli.site import Site
from skep.config.history import State

_COLOURS = {"refused": "red", "rolled back": "yellow"}


@click.command("history")
@for_platform
@click.option("--most", default=20, show_default=True, help="How many of the newest to show.")
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON, all there is.")
def command(most: int, as_json: bool, **flags: Any) -> None:
    """Show which configurations were tried, what became of them and what they changed.

    `platform config diff N` shows a snapshot, `platform config rollback N` goes back to it. The
    newest 20 snapshots are kept.
    """
    site = Site(flags)
    state, kept = site.history.state(), site.history.numbers()
    entries = site.history.audit(most)
    if as_json:
        print_json({**asdict(state), "kept": kept, "entries": entries})
    elif not entries:
        click.echo("Nothing was applied yet.")
    else:
        headings = ("snapshot", "when", "outcome", "keys", "why")
        print_table(headings, [_row(entry, state, kept) for entry in entries])


def _row(entry: dict[str, Any], state: State, kept: list[int]) -> tuple[str, ...]:
    colour = _COLOURS.get(entry["outcome"], "default")
    why = " ".join(entry["problems"]) or entry["reason"]
    return (
        _number(entry["number"], state, kept),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["ts"])),
        f"[{colour}]{entry['outcome']}[/{colour}]",
        _counts(entry["changes"]),
        escape(why),
    )


def _number(number: int | None, state: State, kept: list[int]) -> str:
    if not number:
        return "[dim]-[/dim]"
    marks = [word for word in ("applied", "pinned") if getattr(state, word) == number]
    if number not in kept:
        marks.append("gone")
    return f"{number} [dim]{' '.join(marks)}[/dim]" if marks else str(number)


def _counts(changes: list[dict[str, Any]]) -> str:
    """Say how many keys were added, changed and removed: `+1 ~2 -3`."""
    signs = Counter(
        "+" if change["old"] is None else "-" if change["new"] is None else "~"
        for change in changes
    )
    return " ".join(f"{sign}{signs[sign]}" for sign in "+~-" if signs[sign]) or "[dim]none[/dim]"
