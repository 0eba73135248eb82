"""Draw a dashboard into one picture, all rows open."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from grafana.pictures.series import Ask, Series, asked
from grafana.pictures.units import text

# Pixels of a column and of a unit of height, and the width of the picture in columns.
_COLUMN, _UNIT, _COLUMNS, _DPI = 66, 34, 24, 100
_PAGE, _PANEL, _EDGE, _TEXT, _DIM = "#111217", "#181b1f", "#2c3235", "#d8d9da", "#8e8e96"
_COLOURS = (
    *("#73bf69", "#5794f2", "#f2cc0c", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#fade2a"),
    *("#96d98d", "#ff780a", "#ca95e5", "#37872d"),
)
_NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
_MOST_NAMES = 5
Box = tuple[float, float, float, float]
"""Left, top, width and height, in columns and units."""
Event = tuple[float, str]
"""When something happened, and the colour of its mark."""


def draw(board: Mapping[str, Any], ask: Ask, to: Path) -> None:
    """Write the picture of a dashboard."""
    placed = list(_placed(board))
    height = max(top + high for _, (_, top, _, high) in placed) + 1
    figure = Figure(figsize=(_COLUMNS * _COLUMN / _DPI, height * _UNIT / _DPI), dpi=_DPI)
    figure.set_facecolor(_PAGE)
    answers = [asked(panel, ask) if panel["type"] != "row" else [] for panel, _ in placed]
    times = [at for found in answers for series in found for at in series.times]
    page = _Page(figure, height, (min(times), max(times)))
    page.write(0.3, 0.35, board["title"], 13, _TEXT)
    events = list(_events(board, ask))
    for (panel, box), found in zip(placed, answers, strict=True):
        if panel["type"] == "row":
            page.write(box[0] + 0.2, box[1] + 0.35, f"▾ {panel['title']}", 10, _TEXT)
        else:
            _panel(page, panel, box, found, events)
    _save(figure, to)


def _save(figure: Figure, to: Path) -> None:
    """Write a picture with few colours: it is a third as large."""
    drawn = BytesIO()
    figure.savefig(drawn, facecolor=_PAGE)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(128).save(to, optimize=True)


def _placed(board: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Box]]:
    """Yield rows and panels where they are when every row is open."""
    down = 1.0
    for panel in board["panels"]:
        place = panel["gridPos"]
        yield panel, (place["x"], place["y"] + down, place["w"], place["h"])
        inner = panel.get("panels") or []
        for within in inner:
            at = within["gridPos"]
            yield within, (at["x"], at["y"] + down, at["w"], at["h"])
        if inner:
            bottom = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in inner)
            down += bottom - place["y"] - 1


def _events(board: Mapping[str, Any], ask: Ask) -> Iterator[Event]:
    """Yield the beginnings of what the annotations mark."""
    for annotation in board["annotations"]["list"]:
        colour = {"purple": "#b877d9"}.get(annotation["iconColor"], "#5794f2")
        for series in ask(annotation["expr"], False):
            times = [float(at) for at, _ in series["values"]]
            if annotation["useValueForTime"]:
                yield from {(float(value) / 1000, colour) for _, value in series["values"]}
                continue
            before = [-math.inf, *times]
            yield from ((at, colour) for last, at in zip(before, times, strict=False)
                        if at - last > 2)  # fmt: skip


class _Page:
    """A figure measured in columns and units from its upper left corner.

    `span` is the first and the last moment of all graphs.
    """

    def __init__(self, figure: Figure, height: float, span: tuple[float, float]) -> None:
        self.figure = figure
        self.height = height
        self.span = span

    def axes(self, box: Box, colour: str = _PANEL) -> Axes:
        left, top, width, high = box
        bottom = 1 - (top + high) / self.height
        made = self.figure.add_axes((left / _COLUMNS, bottom, width / _COLUMNS, high / self.height))
        made.set_facecolor(colour)
        for side in made.spines.values():
            side.set_color(_EDGE)
        made.tick_params(colors=_DIM, labelsize=7, length=2)
        return made

    def write(self, left: float, top: float, words: str, size: float, colour: str) -> None:
        self.figure.text(
            left / _COLUMNS, 1 - top / self.height, words,
            fontsize=size, color=colour, va="center", parse_math=False,
        )  # fmt: skip


def _panel(
    page: _Page,
    panel: Mapping[str, Any],
    box: Box,
    found: Sequence[Series],
    events: Sequence[Event],
) -> None:
    left, top, width, high = box
    frame = page.axes((left + 0.06, top + 0.1, width - 0.12, high - 0.2))
    frame.set_xticks([])
    frame.set_yticks([])
    page.write(left + 0.2, top + 0.55, panel["title"], 8.5, _TEXT)
    if not found:
        page.write(left + width / 2 - 0.4, top + high / 2, "No data", 9, _DIM)
        return
    _KINDS[panel["type"]](page, panel, box, found)
    if panel["type"] in ("timeseries", "state-timeline", "heatmap"):
        axes = page.figure.axes[-1]
        first, last = page.span
        for at, colour in events:
            if first <= at <= last:
                axes.axvline(_day(at), color=colour, linewidth=0.8, linestyle=":")


def _day(at: float) -> float:
    """Return a Unix time as matplotlib counts: in days."""
    return at / 86400


def _timed(page: _Page, box: Box, below: float) -> Axes:
    """Return axes over time within a panel, with room for a legend."""
    left, top, width, high = box
    axes = page.axes((left + 1.0, top + 1.0, width - 1.25, high - 1.75 - below))
    axes.xaxis_date()
    axes.set_xlim(*map(_day, page.span))
    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.grid(color=_EDGE, linewidth=0.5)
    return axes


def _named(page: _Page, box: Box, found: Sequence[Series], unit: str) -> None:
    """Write a legend at the foot of a panel: names, and the last values."""
    left, top, width, high = box
    lines = found[:_MOST_NAMES]
    for number, series in enumerate(lines):
        at = top + high - 0.45 - (len(lines) - number - 1) * 0.45
        colour = _COLOURS[number % len(_COLOURS)]
        more = (
            f"   (and {len(found) - len(lines)} more)"
            if number == _MOST_NAMES - 1 and len(found) > _MOST_NAMES
            else ""
        )
        page.write(left + 0.3, at, "━", 7, colour)
        room = int(width * 10) - 18
        page.write(left + 0.65, at, f"{series.name[:room]}{more}", 6.5, _TEXT)
        page.write(left + width - 1.2, at, text(series.last, unit), 6.5, _DIM)


def _lines(page: _Page, panel: Mapping[str, Any], box: Box, found: Sequence[Series]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes = _timed(page, box, 0.45 * min(len(found), _MOST_NAMES) - 0.1)
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    colours = itertools.cycle(_COLOURS)
    # Where not all have room in the legend, name the largest.
    found = sorted(found, key=lambda s: -s.peak) if len(found) > _MOST_NAMES else found
    if stacked:
        times = sorted({at for series in found for at in series.times})
        rows = [dict(zip(series.times, series.values, strict=True)) for series in found]
        axes.stackplot(
            [_day(at) for at in times],
            [[row.get(at, 0.0) for at in times] for row in rows],
            colors=_COLOURS[: len(rows)], alpha=0.7,
        )  # fmt: skip
    else:
        for series in found:
            moments = [_day(at) for at in series.times]
            axes.plot(moments, series.values, color=next(colours), linewidth=1.1)
    top = axes.get_ylim()[1]
    axes.set_ylim(0, top * 1.05 if top > 1e-3 and max(s.peak for s in found) > 0 else 1)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    unit = defaults["unit"]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value, unit)))
    _named(page, box, found, unit)


def _heat(page: _Page, panel: Mapping[str, Any], box: Box, found: Sequence[Series]) -> None:
    axes = _timed(page, box, -0.3)
    ordered = sorted(found, key=lambda series: float(series.labels["le"]))
    times = sorted({at for series in ordered for at in series.times})
    rows = [dict(zip(series.times, series.values, strict=True)) for series in ordered]
    grid, below = [], [0.0] * len(times)
    for row in rows:
        here = [row.get(at, 0.0) for at in times]
        grid.append([max(0.0, one - other) for one, other in zip(here, below, strict=True)])
        below = here
    axes.pcolormesh([_day(at) for at in times], range(len(rows)), grid, cmap="inferno")
    axes.set_yticks(range(len(rows)), [text(float(s.labels["le"]), "s") if s.labels["le"] != "+Inf"
                                       else "∞" for s in ordered])  # fmt: skip
    axes.tick_params(labelsize=5.5)
    axes.grid(visible=False)


def _colour(panel: Mapping[str, Any], value: float) -> str:
    """Return the colour of a value by the thresholds."""
    found = _TEXT
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            found = _NAMED.get(step["color"], _PANEL)
    return found


def _number_of(page: _Page, panel: Mapping[str, Any], box: Box, found: Sequence[Series]) -> None:
    left, top, width, high = box
    defaults = panel["fieldConfig"]["defaults"]
    value = found[0].last
    shown = text(value, defaults["unit"])
    for mapping in defaults.get("mappings") or []:
        for number, result in mapping["options"].items():
            if float(number) == value:
                shown = result["text"]
    page.write(left + width / 2 - len(shown) * 0.14, top + high * 0.55, shown, 19,
               _colour(panel, value))  # fmt: skip


def _bars(page: _Page, panel: Mapping[str, Any], box: Box, found: Sequence[Series]) -> None:
    left, top, width, high = box
    unit = panel["fieldConfig"]["defaults"]["unit"]
    shown = sorted(found, key=lambda series: -series.last)[:10]
    axes = page.axes((left + width * 0.42, top + 1.0, width * 0.42, high - 1.4))
    axes.barh(range(len(shown)), [s.last for s in shown], color=_NAMED["green"], height=0.7)
    axes.invert_yaxis()
    axes.set_yticks(range(len(shown)), [series.name[:34] for series in shown])
    axes.set_xticks([])
    axes.margins(y=0.02 if len(shown) > 3 else 0.6)
    for number, series in enumerate(shown):
        axes.text(series.last, number, f" {text(series.last, unit)}", color=_TEXT, fontsize=7,
                  va="center")  # fmt: skip


def _bands(page: _Page, panel: Mapping[str, Any], box: Box, found: Sequence[Series]) -> None:
    axes = _timed(page, (box[0] + 2.2, box[1], box[2] - 2.2, box[3]), -0.3)
    for row, series in enumerate(found):
        spans = zip(series.times, series.times[1:], series.values, strict=False)
        for begin, end, value in spans:
            if (colour := _colour(panel, value)) != _PANEL:
                axes.barh(row, _day(end) - _day(begin),
                          left=_day(begin), color=colour, height=0.6)  # fmt: skip
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_yticks(range(len(found)), [series.name for series in found])
    axes.grid(visible=False)


def _table(page: _Page, panel: Mapping[str, Any], box: Box, found: Sequence[Series]) -> None:
    left, top, width, high = box
    organized = panel["transformations"][-1]["options"]
    names: dict[str, str] = organized["renameByName"]
    units = {
        override["matcher"]["options"]: prop["value"]
        for override in panel["fieldConfig"]["overrides"]
        for prop in override["properties"]
        if prop["id"] == "unit"
    }
    rows: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for series in found:
        kept = {k: v for k, v in series.labels.items() if k not in organized["excludeByName"]}
        row = rows.setdefault(tuple(sorted(kept.items())), dict(kept))
        column = names.get(f"Value #{series.letter}") or names.get("Value", "")
        if column:
            row[column] = text(series.last, units[column])
    labels = sorted({name for row in rows.values() for name in row} - set(names.values()))
    columns = [*labels, *names.values()]
    widths = [max(len(c), *(len(row.get(c, "")) for row in rows.values())) + 2 for c in columns]
    scale = (width - 0.6) / max(sum(widths), 1)
    most = int((high - 1.6) / 0.5)
    for number, row in enumerate([dict(zip(columns, columns, strict=True)), *rows.values()][:most]):
        at = left + 0.3
        for column, wide in zip(columns, widths, strict=True):
            colour = _DIM if number == 0 else _TEXT
            cell = row.get(column, "")[: max(int(wide * scale * 12), 4)]
            page.write(at, top + 1.3 + number * 0.5, cell, 6.8, colour)
            at += wide * scale


_KINDS: dict[str, Callable[[_Page, Mapping[str, Any], Box, Sequence[Series]], None]] = {
    "timeseries": _lines,
    "heatmap": _heat,
    "stat": _number_of,
    "bargauge": _bars,
    "state-timeline": _bands,
    "table": _table,
}
