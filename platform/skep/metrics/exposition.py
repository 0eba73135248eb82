"""The text that Prometheus reads, made of what `Ledger.families()` returns.

Two formats: the text format 0.0.4 and OpenMetrics 1.0.0, which a Prometheus server asks for first.
Both are in a fixed order, and both spell the bounds of buckets alike, so that a server that changes
its mind about the format finds the same series.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from skep.metrics.names import BY_EXPOSED, OTEL_LABELS

Family = Mapping[str, Any]
Renderer = Callable[[Iterable[Family]], str]

Exemplars = Mapping[str, str]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_TEXT_TYPES = {"info": "gauge", "stateset": "gauge", "unknown": "untyped"}
_NONE: Exemplars = {}
_SUFFIXES = {"counter": "_total", "info": "_info"}
_LABEL_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def negotiate(accept: str) -> tuple[str, Renderer]:
    """Return the content type to answer this Accept header with, and what renders it."""
    offers = dict(_offers(accept))
    openmetrics, text = offers.get("openmetrics", 0.0), offers.get("text", 0.0)
    if openmetrics > 0 and openmetrics >= text:
        return OPENMETRICS, render_openmetrics
    return TEXT, render_text


def in_otel_names(families: Iterable[Family]) -> list[Family]:
    """Return the families with the names that OpenTelemetry's conventions have for HTTP."""
    return [_in_otel_names(family) for family in families]


def _in_otel_names(family: Family) -> Family:
    metric = BY_EXPOSED.get(family["name"])
    if metric is None or not metric.otel:
        return family

    def renamed(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
        return [
            [{OTEL_LABELS.get(name, name): value for name, value in labels.items()}, *rest]
            for labels, *rest in rows
        ]

    rows = {part: renamed(family[part]) for part in ("series", "exemplars") if part in family}
    return {**family, "name": metric.otel, **rows}


def render_text(families: Iterable[Family]) -> str:
    """Render the text format 0.0.4."""
    lines: list[str] = []
    for family in _sorted(families):
        name, kind = family["name"], family["type"]
        lines.append(f"# HELP {name} {family['help'].translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {name} {_TEXT_TYPES.get(kind, kind)}")
        lines.extend(_samples(family))
    return "\n".join([*lines, ""])


def render_openmetrics(families: Iterable[Family]) -> str:
    """Render OpenMetrics 1.0.0.

    There a metric is named without `_total` or `_info`. Where that name is another metric's already
    (a plugin's gauge `orders` beside `orders_total`), it keeps the long one and has no type: a
    query sees no difference, and a strict reader no clash.
    """
    lines: list[str] = []
    families = _sorted(families)
    taken = {family["name"] for family in families}
    for family in families:
        name, kind = family["name"], family["type"]
        if suffix := _SUFFIXES.get(kind):
            short = name.removesuffix(suffix)
            name, kind = (name, "unknown") if short in taken else (short, kind)
            taken.add(name)
        lines.append(f"# HELP {name} {family['help'].translate(_LABEL_ESCAPES)}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(_samples(family, _exemplars(family)))
    return "\n".join([*lines, "# EOF\n"])


def _offers(accept: str) -> Iterator[tuple[str, float]]:
    """Return the quality of our two formats in the header (RFC 9110, 12.5.1)."""
    for item in accept.split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        given = dict(p.split("=", 1) for p in parameters if "=" in p)
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            continue
        if media == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            yield "openmetrics", quality
        elif media == "text/plain" and given.get("version", "0.0.4") == "0.0.4":
            yield "text", quality


def _sorted(families: Iterable[Family]) -> list[Family]:
    return sorted(families, key=lambda family: family["name"])


def _exemplars(family: Family) -> Exemplars:
    """Return what stands behind the sample of each bucket that has an example, by the labels of
    the sample."""
    found = {}
    for labels, bound, own, value, at in family.get("exemplars", ()):
        key = _labels(labels)
        if family["type"] == "histogram":
            key = _with_bound(key, _bound(float(bound)))
        found[key] = f" # {{{_labels(own)}}} {_number(value)} {at:.3f}"
    return found


def _samples(family: Family, exemplars: Exemplars = _NONE) -> Iterator[str]:
    name, kind = family["name"], family["type"]
    for labels, value in sorted((_labels(labels), value) for labels, value in family["series"]):
        if kind == "histogram":
            total, counts = value
            yield from _histogram(name, labels, family["bounds"], total, counts, exemplars)
        elif kind == "summary":
            total, (count,) = value
            yield _line(f"{name}_count", labels, count)
            yield _line(f"{name}_sum", labels, total)
        elif exemplars:
            yield _line(name, labels, value) + exemplars.get(labels, "")
        else:
            yield _line(name, labels, value)


def _histogram(
    name: str,
    labels: str,
    bounds: list[float],
    total: float,
    counts: list[float],
    exemplars: Exemplars,
) -> Iterator[str]:
    cumulative = list(itertools.accumulate(counts))
    for bound, count in zip([*bounds, math.inf], cumulative, strict=True):
        own = _with_bound(labels, _bound(bound))
        yield _line(f"{name}_bucket", own, count) + exemplars.get(own, "")
    # A sum that can fall is not a counter, and OpenMetrics forbids it together with its count.
    if not bounds or bounds[0] >= 0:
        yield _line(f"{name}_count", labels, cumulative[-1])
        yield _line(f"{name}_sum", labels, total)


def _labels(labels: Mapping[str, str]) -> str:
    # The ledger has sorted them.
    return ",".join(
        [f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in labels.items()]
    )


def _with_bound(labels: str, bound: str) -> str:
    return f'{labels},le="{bound}"' if labels else f'le="{bound}"'


def _line(name: str, labels: str, value: float | str) -> str:
    shown = value if isinstance(value, str) else _number(value)
    return f"{name}{{{labels}}} {shown}" if labels else f"{name} {shown}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


@functools.lru_cache(1024)
def _bound(bound: float) -> str:
    """The canonical spelling of a number in OpenMetrics: `0.5`, `1.0`, `1e+06`, `+Inf`."""
    if bound == math.inf:
        return "+Inf"
    digits = repr(float(bound))
    whole, dot, rest = digits.partition(".")
    if not dot or len(whole) <= 6 or "e" in rest or bound < 0:
        return digits
    mantissa = f"{whole[0]}.{whole[1:]}{rest}".rstrip("0").rstrip(".")
    return f"{mantissa}e+{len(whole) - 1:02d}"
