"""`platform config history`."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape

from skep.cli.output import json_option, local_time, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("history")
@for_platform()
@click.option("--most", default=20, show_default=True, help="How many of the newest to show.")
@json_option
def history(platform: PlatformHandle, most: int, as_json: bool) -> None:
    """Show which configurations were tried, with which outcome, and what they changed.

    `platform config diff N` shows a snapshot, `platform config rollback N` goes back to it. The
    newest 20 snapshots are kept.
    """
    found = platform.history
    state = asdict(found.state())
    show({**state, "kept": found.numbers(), "entries": found.audit(most)}, as_json, _print)


def _print(document: dict[str, Any]) -> None:
    if not document["entries"]:
        click.echo("Nothing was applied yet.")
        return
    rows = [_row(entry, document) for entry in document["entries"]]
    print_table(("snapshot", "when", "outcome", "keys", "why"), rows)


def _row(entry: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    return (
        _number(entry["number"], document),
        local_time(entry["ts"]),
        tint(entry["outcome"]),
        _counts(entry["changes"]),
        escape(" ".join(entry["problems"]) or entry["reason"]),
    )


def _number(number: int | None, document: dict[str, Any]) -> str:
    if not number:
        return "[dim]-[/dim]"
    marks = [word for word in ("applied", "pinned") if document[word] == number]
    if number not in document["kept"]:
        marks.append("gone")
    return f"{number} [dim]{' '.join(marks)}[/dim]" if marks else str(number)


def _counts(changes: list[dict[str, Any]]) -> str:
    """Return how many keys were added, changed and removed: `+1 ~2 -3`."""
    signs = Counter(
        "+" if change["old"] is None else "-" if change["new"] is None else "~"
        for change in changes
    )
    return " ".join(f"{sign}{signs[sign]}" for sign in "+~-" if signs[sign]) or "[dim]none[/dim]"
