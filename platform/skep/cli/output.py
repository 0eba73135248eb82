"""What verbs print: JSON for programs; tables, facts, colours and units for people."""

import itertools
import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

T = TypeVar("T")

_COLOURS = {
    "green": "running ready committed live replaced ok stopped success done",
    "yellow": "degraded backoff blocked restart timeout interrupted cancelled",
    "cyan": "reloading starting draining stopping leased rollout",
    "red": "refused dead failure hung failed",
    "dim": "superseded unchanged unused ended disabled",
}
_COLOUR_OF = {word: colour for colour, words in _COLOURS.items() for word in words.split()}
_COLOUR_OF["rolled back"] = "yellow"
_PHASES = {
    "checking": "checking whether the new generation would start",
    "planning": "loading the plugins",
    "preparing": "preparing the workers",
    "committing": "applying the configuration",
    "going": "letting the new workers accept",
    "handing over": "handing over to the new workers",
    "replacing": "replacing the task workers",
}
_GAP, _INDENT = 2, 4

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show(document: T, as_json: bool, render: Callable[[T], None]) -> None:
    """Print a document as JSON, or let `render` print it for people."""
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        render(document)


def print_sentence(answer: dict[str, Any]) -> None:
    click.echo(answer["sentence"])


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one a line; the values may have markup.

    No line is broken: a path or a release key can be copied.
    """
    facts = list(facts)
    width = max(len(name) for name, _ in facts) + _GAP
    for name, value in facts:
        print_markup(f"[dim]{name:<{width}}[/dim]{value}")


def print_markup(text: str | Text) -> None:
    """Print one line; only the terminal breaks it."""
    Console(highlight=False).print(text, soft_wrap=True)


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Print a table; the cells may have markup, and `right` names the columns of numbers.

    No cell is cut or broken. Columns that are too wide for the terminal stand below each row, with
    their headings.
    """
    table = [[Text.from_markup(cell.replace("\n", " ")) for cell in row] for row in rows]
    widths = [
        max([cell_len(heading), *(cell.cell_len for cell in column)])
        for heading, *column in zip(headings, *table, strict=True)
    ]
    console = Console()
    most = console.width if console.is_terminal else sys.maxsize
    beside = _beside(widths, most)

    def print_beside(row: Sequence[Text]) -> None:
        for heading, cell, width in zip(headings[:beside], row, widths, strict=False):
            cell.align("right" if heading in right else "left", width)
        line = Text(" " * _GAP).join(row[:beside])
        line.rstrip()
        print_markup(line)

    print_beside([Text(heading, "dim") for heading in headings])
    for row in table:
        print_beside(row)
        _print_below(zip(headings[beside:], row[beside:], strict=True), most)


def _beside(widths: Sequence[int], most: int) -> int:
    """Return how many columns fit in one line, at least one."""
    ends = itertools.accumulate(widths, lambda end, width: end + _GAP + width)
    return max(1, sum(end <= most for end in ends))


def _print_below(cells: Iterable[tuple[str, Text]], most: int) -> None:
    line = Text()
    for heading, cell in cells:
        if cell.plain in ("", "-"):
            continue
        item = Text.assemble((heading, "dim"), " ", cell)
        if line and line.cell_len + _GAP + item.cell_len > most:
            print_markup(line)
            line = Text()
        line = Text.assemble(line or " " * (_INDENT - _GAP), " " * _GAP, item)
    if line:
        print_markup(line)


def tint(word: str) -> str:
    """Return a word in the colour of its meaning, as markup."""
    colour = _COLOUR_OF.get(word)
    return f"[{colour}]{escape(word)}[/{colour}]" if colour else escape(word)


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
    """Return a time span for people: `0.42 s`, `12 s`, `3 min`, `5 h 10 min`, `2 d 3 h`."""
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


def local_time(seconds: float) -> str:
    """Return a Unix time in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def release_lines(config: dict[str, Any]) -> Iterator[str]:
    """Return for each namespace its release, since when it is applied, and why there is no newer
    one, as markup."""
    for one in config["releases"]:
        text = f"{one['namespace']} {one['release_key'] or 'without a release'}"
        if one["since"]:
            text += f" since {local_time(one['since'])}"
        yield escape(text)
        if one["not_newer"]:
            yield f"[yellow]{escape('not newer: ' + one['not_newer'])}[/yellow]"


def phase(name: str) -> str:
    """Return what happens in a phase of a rollout, for people."""
    return _PHASES.get(name, name)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being waited for until the block ends; yield a function that
    changes the text."""
    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda what: None
        return
    with console.status(f"{what} …") as status:
        yield lambda what: status.update(f"{what} …")
