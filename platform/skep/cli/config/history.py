"""`platform config history`, `rollback` and `unpin`."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import click
from rich.markup import escape

from skep.cli.output import local_time, print_sentence, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, verb


@verb("history", json=True)
@click.option("--most", default=20, show_default=True, help="How many of the newest to show.")
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


@verb("rollback", json=True)
@click.argument("number", type=click.IntRange(min=1), required=False)
def rollback(platform: PlatformHandle, number: int | None, as_json: bool) -> None:
    """Go back to the configuration before this one, or to snapshot NUMBER of the history.

    It stays applied, whatever is published, until `platform config unpin`. Exit code 1: it was
    refused, and the present configuration stays applied.
    """
    show(platform.ask("config.rollback", timeout=None, number=number or 0), as_json, _print_pinned)


def _print_pinned(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['sentence']} Snapshot {answer['number']} is in force and pinned.")


@verb("unpin", json=True)
def unpin(platform: PlatformHandle, as_json: bool) -> None:
    """Follow what is published again, after `platform config rollback`.

    What was published since the rollback is applied now. Exit code 1: it was refused.
    """
    show(platform.ask("config.unpin", timeout=None), as_json, print_sentence)
