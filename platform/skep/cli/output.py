"""What verbs print for people: tables, colours, units. Plain text where there is no terminal."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import click
from rich.console import Console
from rich.table import Table

_COLOURS = {
    "running": "green",
    "ready": "green",
    "committed": "green",
    "live": "green",
    "replaced": "green",
    "ok": "green",
    "stopped": "green",
    "degraded": "yellow",
    "backoff": "yellow",
    "rolled back": "yellow",
    "superseded": "dim",
    "unchanged": "dim",
    "reloading": "cyan",
    "starting": "cyan",
    "draining": "cyan",
    "stopping": "cyan",
    "refused": "red",
}
_PHASES = {
    "checking": "checking that the new can boot",
    "planning": "loading the plugins",
    "preparing": "preparing the workers",
    "committing": "putting the configuration in force",
    "going": "letting the new workers accept",
    "handing over": "handing over to the new workers",
    "replacing": "replacing the task workers",
}


def screen() -> Console:
    """Return where a verb prints; lines are as long as they are when nobody reads them."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=400)


def columns(*headings: str, right: Iterable[str] = ()) -> Table:
    """Return an empty table; `right` names the columns of numbers."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        justify = "right" if heading in set(right) else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def print_json(document: Any) -> None:
    """Print a document for programs."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one a line; the values may have markup."""
    console = screen()
    for name, value in facts:
        # Not in a table: that would break a path or a release key in two.
        console.print(f"[dim]{name:<14}[/dim]{value}", soft_wrap=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the cells may have markup."""
    table = columns(*headings)
    for row in rows:
        table.add_row(*row)
    screen().print(table)


def tint(word: str) -> str:
    """Return the word in the colour of what it means."""
    colour = _COLOURS.get(word)
    return f"[{colour}]{word}[/{colour}]" if colour else word


def size(count: int | None) -> str:
    """Return a number of bytes in the unit that fits."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def duration(seconds: float | None) -> str:
    """Return a span of time as one reads it: `0.42 s`, `12 s`, `3 min`, `5 h 10 min`, `2 d 3 h`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


class Say(Protocol):
    """Says what is being waited for."""

    def __call__(self, what: str) -> None:
        """Show another word."""


@contextmanager
def waiting(what: str) -> Iterator[Say]:
    """Show on a terminal that something goes on, and what, until the block ends."""
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda what: None
        return
    with console.status(f"{what} …") as status:
        yield lambda what: status.update(f"{what} …")


def phase(name: str) -> str:
    """Return what happens in a phase, for people."""
    return _PHASES.get(name, name)
