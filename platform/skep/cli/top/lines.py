"""The lines that `platform top` shows, made of its document: no line is wider than the terminal."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from skep.cli.output import duration, phase, size, tint
from skep.metrics.names import FAST

NONE = "-"
_GAP = 2
_SHORTEST_NAME = 12
_MOST_REASONS = 3
_LEAST_ROWS = 3
# From these values on a figure is red; a lag is in seconds.
_ALARMS = {"crashes": 1, "lag": 1.0}
# The columns that do not hold numbers.
_WORDS = frozenset({"queue", "slot", "state"})


@dataclass(frozen=True)
class SlotColumn:
    """A column of the table of slots, by which it can be sorted with `key`."""

    key: str
    heading: str
    field: str
    show: Callable[[Any], str]
    descending: bool = True


# The rightmost are left out first where the terminal is narrow.
COLUMNS = (
    SlotColumn("n", "slot", "name", str, descending=False),
    SlotColumn("s", "state", "state", str, descending=False),
    SlotColumn("p", "pid", "pid", str, descending=False),
    SlotColumn("c", "cpu%", "cpu", lambda value: f"{value:.0f}"),
    SlotColumn("m", "memory", "rss", size),
    SlotColumn("r", "req/s", "requests", lambda value: number(value)),
    SlotColumn("l", "lag", "lag", lambda value: span(value)),
    SlotColumn("x", "crashes", "crashes", str),
)
# The order of the platform itself.
UNSORTED = COLUMNS[0].key
KEYS = "q quits   sort: " + " ".join(f"{one.key}={one.heading}" for one in COLUMNS)


def lines(
    document: Mapping[str, Any], width: int, height: int | None = None, sort: str = UNSORTED
) -> list[Text]:
    """Return what is shown; with a height, tables are cut and say how many rows are left out.

    `sort` is the key of a column; UNSORTED keeps the slots in the order of the platform.
    """
    head = [*_summary(document, width), *_rollouts(document), Text()]
    queues = _queue_rows(document["queues"])
    slots = _slot_rows(document["slots"], sort)
    queue_room = slot_room = None
    if height is not None:
        # Two headings and an empty line; the queues get what the slots leave.
        room = height - len(head) - 3
        queue_room = min(len(queues), max(_LEAST_ROWS, room - len(slots)))
        slot_room = max(_LEAST_ROWS, room - queue_room)
    shown = [
        *head,
        *_table(_QUEUE_HEADINGS, queues, width, queue_room),
        Text(),
        *_table(_slot_headings(sort), slots, width, slot_room),
    ]
    for line in shown:
        line.truncate(width, overflow="ellipsis")
    return shown


def number(value: float | None) -> str:
    """Return a rate or a count for people: `0`, `0.4`, `12.5`, `1234`."""
    if value is None:
        return NONE
    return f"{value:.1f}" if 0 < value < 100 else f"{value:.0f}"


def span(seconds: float | str | None) -> str:
    """Return a short time for people: `0.3 ms`, `25 ms`, `1.2 s`, `5 min`."""
    if seconds is None:
        return NONE
    if isinstance(seconds, str):
        return f"over {FAST[-1]:g} s"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def printable(value: object) -> str:
    """Return a text in one line without control characters: it may come from a plugin."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def _summary(document: Mapping[str, Any], width: int) -> Iterator[Text]:
    probation = " (on probation)" if document["on_probation"] else ""
    coming = f", next: {phase(document['coming'])}" if document["coming"] else ""
    yield Text.assemble(
        (time.strftime("%H:%M:%S  ", time.localtime(document["at"])), "dim"),
        _tinted(document["state"]),
        f"  generation {document['generation']}{probation}{coming}"
        f"  up {duration(document['uptime'])}  pid {document['pid']}"
        f"  skep {document['version']}",
    )
    reasons = document["reasons"]
    for reason in reasons[:_MOST_REASONS]:
        yield _fact("", printable(reason), "yellow")
    if len(reasons) > _MOST_REASONS:
        yield _fact("", f"and {len(reasons) - _MOST_REASONS} more: see `platform status`", "yellow")
    yield from _config(document)
    yield _http(document["http"], width)
    yield _host(document["host"])
    if restarts := document["restarts"]:
        pools = (
            f"{pool} " + ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            for pool, reasons in restarts.items()
        )
        yield _fact("restarts", printable("; ".join(pools)))


def _config(document: Mapping[str, Any]) -> Iterator[Text]:
    config, now = document["config"], document["at"]
    parts = [f"{config['app_id'] or ''} {config['cluster'] or ''}".strip(), config["source"]]
    parts.append(f"{sum((config['keys'] or {}).values())} keys")
    if config["snapshot"]:
        since = max((one["since"] or 0 for one in config["releases"] or ()), default=0)
        applied = f" applied {duration(max(0.0, now - since))} ago" if since else ""
        parts.append(f"snapshot {config['snapshot']}{applied}")
    yield _fact("config", printable("  ".join(filter(None, parts))))
    if config["pinned"]:
        withheld = ", what was published since is withheld" if config["withheld"] else ""
        yield _fact("", f"pinned to snapshot {config['pinned']}{withheld}", "yellow")
    for one in config["releases"] or ():
        if one["not_newer"]:
            text = f"{one['namespace']} is not newer: {one['not_newer']}"
            yield _fact("", printable(text), "yellow")
    if config["last_error"]:
        yield _fact("", printable(config["last_error"]), "yellow")
    for text in config["refused"][:_MOST_REASONS]:
        yield _fact("", "refused: " + printable(text), "red")
    if config["restart_required"]:
        keys = ", ".join(config["restart_required"])
        yield _fact("", printable(f"a restart is needed for {keys}"), "yellow")


def _http(http: Mapping[str, Any], width: int) -> Text:
    """Return the line about requests; parts at its end that do not fit are left out."""
    parts = [
        f"{number(http['requests'])} req/s",
        f"5xx {number(http['errors'])}/s",
        f"mean {span(http['mean'])}",
        f"p50 {_at_most(http['p50'])}",
        f"p99 {_at_most(http['p99'])}",
        f"active {_count(http['in_progress'])}",
        *([f"websockets {_count(http['websockets'])}"] if http["websockets"] else []),
    ]
    while len(parts) > 1 and _fact("http", "  ".join(parts)).cell_len > width:
        parts.pop()
    return _fact("http", "  ".join(parts))


def _host(host: Mapping[str, Any]) -> Text:
    load = " ".join(number(value) for value in host["load"])
    cores = "" if host["cores"] is None else f" on {host['cores']:g} cores"
    limit = "" if host["memory_limit"] is None else f" of {_bytes(host['memory_limit'])}"
    return _fact(
        "host", f"load {load}{cores}  memory {_bytes(host['memory_available'])}{limit} free"
    )


def _rollouts(document: Mapping[str, Any]) -> Iterator[Text]:
    for index, one in enumerate(reversed(document["rollouts"])):
        if one["outcome"]:
            outcome = Text.assemble(_tinted(one["outcome"]), f" in {span(one['seconds'])}")
        else:
            outcome = Text(f"{phase(one['phase'])} …", "cyan")
        ago = duration(max(0.0, document["at"] - one["began"]))
        generation = f", generation {one['generation']}" if one["generation"] else ""
        yield Text.assemble(
            _fact("" if index else "rollouts", ""),
            f"{printable(one['what'])} {ago} ago: ",
            outcome,
            generation,
            (f"  {printable('; '.join(one['problems']))}" if one["problems"] else "", "red"),
        )


_QUEUE_HEADINGS = tuple(
    Text(heading, "dim")
    for heading in (
        "queue",
        "ready",
        "scheduled",
        "running",
        "dead",
        "done/s",
        "failed/s",
        "oldest",
    )
)


def _queue_rows(queues: Sequence[Mapping[str, Any]]) -> list[list[Text]]:
    return [
        [
            Text(printable(queue["queue"])),
            Text(_ready(queue)),
            Text(str(queue["scheduled"])),
            Text(str(queue["running"])),
            Text(str(queue["dead"]), "red" if queue["dead"] else ""),
            Text(number(queue["done"])),
            Text(number(queue["failed"]), "red" if queue["failed"] else ""),
            Text(span(queue["oldest"])),
        ]
        for queue in queues
    ]


def _ready(queue: Mapping[str, Any]) -> str:
    return f"{queue['ready']}/{queue['capacity']}" if queue["capacity"] else str(queue["ready"])


def _slot_headings(sort: str) -> list[Text]:
    """Return the headings; that of the column which decides the order stands out."""
    return [Text(one.heading, "bold" if one.key == sort != UNSORTED else "dim") for one in COLUMNS]


def _slot_rows(slots: Sequence[Mapping[str, Any]], sort: str) -> list[list[Text]]:
    for column in COLUMNS:
        if column.key == sort != UNSORTED:
            slots = _sorted(slots, column)
    return [[_cell(slot, column) for column in COLUMNS] for slot in slots]


def _sorted(slots: Sequence[Mapping[str, Any]], column: SlotColumn) -> list[Mapping[str, Any]]:
    """Return the slots in the order of a column, those without a value last."""
    known = [slot for slot in slots if slot[column.field] is not None]
    known.sort(key=lambda slot: slot[column.field], reverse=column.descending)
    return [*known, *(slot for slot in slots if slot[column.field] is None)]


def _cell(slot: Mapping[str, Any], column: SlotColumn) -> Text:
    value = slot[column.field]
    if value is None:
        return Text(NONE)
    if column.field == "state":
        return _tinted(value)
    alarming = column.field in _ALARMS and value >= _ALARMS[column.field]
    return Text(printable(column.show(value)), "red" if alarming else "")


def _table(
    headings: Sequence[Text], rows: Sequence[Sequence[Text]], width: int, room: int | None
) -> Iterator[Text]:
    """Yield a heading and the rows; words stand left, numbers right."""
    if not rows:
        yield Text(f"no {headings[0].plain} is known yet", "dim")
        return
    kept = rows if room is None or len(rows) <= room else rows[: room - 1]
    widths = _fitted([headings, *rows], width)
    for row in (headings, *kept):
        cells = [cell.copy() for cell in row[: len(widths)]]
        for heading, cell, cells_wide in zip(headings, cells, widths, strict=False):
            cell.truncate(cells_wide, overflow="ellipsis")
            cell.align("left" if heading.plain in _WORDS else "right", cells_wide)
        line = Text(" " * _GAP).join(cells)
        line.rstrip()
        yield line
    if len(kept) < len(rows):
        yield Text(f"and {len(rows) - len(kept)} more", "dim")


def _fitted(rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """Return the widths of the columns that fit: the first is shortened, then the last go."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    while len(widths) > 1 and (excess := sum(widths) + _GAP * (len(widths) - 1) - width) > 0:
        if widths[0] - excess >= _SHORTEST_NAME:
            widths[0] -= excess
            break
        widths.pop()
    return widths


def _fact(name: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{name:<10}", "dim"), (value, style))


def _tinted(word: str) -> Text:
    return Text.from_markup(tint(printable(word)))


def _at_most(bound: float | str | None) -> str:
    """Return the bound of a bucket: `≤5 ms`, `≤2.5 s`."""
    if bound is None or isinstance(bound, str):
        return span(bound)
    return f"≤{bound * 1000:g} ms" if bound < 1 else f"≤{bound:g} s"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}"


def _bytes(value: float | None) -> str:
    return NONE if value is None else size(int(value))
