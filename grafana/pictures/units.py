"""Grafana's units, as text."""

import math
import time
from collections.abc import Callable

_SPANS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))


def text(value: float, unit: str) -> str:
    """Return a value as Grafana shows it in a unit."""
    if math.isnan(value):
        return "–"
    return _FORMATS.get(unit, _plain)(value)


def _plain(value: float) -> str:
    for sign, size in (("M", 1e6), ("K", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {sign}"
    return f"{value:.3g}"


def _per_second(what: str) -> Callable[[float], str]:
    return lambda value: f"{_plain(value)} {what}/s"


def _bytes(value: float) -> str:
    for sign, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= size:
            return f"{value / size:.3g} {sign}"
    return f"{value:.3g} B"


def _seconds(value: float) -> str:
    for sign, size in _SPANS:
        if abs(value) >= 2 * size:
            return f"{value / size:.3g} {sign}"
    for sign, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {sign}"
    return f"{value * 1e6:.3g} µs" if value else "0 s"


def _ago(value: float) -> str:
    gone = time.time() - value / 1000
    return f"{_seconds(gone)} ago" if gone >= 0 else f"in {_seconds(-gone)}"


_FORMATS: dict[str, Callable[[float], str]] = {
    "s": _seconds,
    "dtdurations": _seconds,
    "bytes": _bytes,
    "Bps": lambda value: f"{_bytes(value)}/s",
    "percentunit": lambda value: f"{value * 100:.3g}%",
    "ops": _per_second("op"),
    "reqps": _per_second("req"),
    "cps": _per_second("c"),
    "dateTimeAsIso": lambda value: time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(value / 1000)),
    "dateTimeFromNow": _ago,
}
