"""PLATFORM_CRONS: crons that the configuration chooses, times or switches off.

    ["pulse.Sweep",
     {"class": "pulse.Beat", "schedule": "*/5 * * * *", "tz": "Asia/Shanghai", "immediate": true},
     {"class": "orders.report", "enabled": false},
     ["pulse.Probe", [1000, true]]]

The last form is LaravelS's: the interval in milliseconds, and whether it runs at the start too.
"""

import json
from dataclasses import dataclass
from typing import Any

from skep.base.errors import UsageError

KEY = "PLATFORM_CRONS"
_FIELDS = ("schedule", "tz", "immediate", "enabled")


@dataclass(frozen=True)
class CronChoice:
    """What the configuration says of one cron. `cls` is the name of its class, or the one under
    which it is registered; what is None stays as the plugin declares it."""

    cls: str
    schedule: str | None = None
    tz: str | None = None
    immediate: bool | None = None
    enabled: bool = True


def parse(text: str) -> tuple[CronChoice, ...]:
    """Read the value of PLATFORM_CRONS. Raises UsageError naming the key and what does not fit."""
    if not text.strip():
        return ()
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{KEY} is not JSON: {error}.") from None
    if not isinstance(entries, list):
        raise UsageError(f'{KEY} is not a list; it takes one like ["pulse.Sweep"].')
    return tuple(map(_choice, entries))


def _choice(entry: Any) -> CronChoice:
    match entry:
        case str():
            return CronChoice(entry)
        case [str(name)]:
            return CronChoice(name)
        case [str(name), [int(interval), *rest]] if _is_tail(interval, rest):
            return CronChoice(name, f"{interval}ms", immediate=rest[0] if rest else None)
        case {"class": str(name), **fields}:
            return CronChoice(name, **dict(_field(name, *pair) for pair in fields.items()))
    raise UsageError(
        f"{KEY} holds {_shown(entry)}; an entry is the name of a cron, [name, [milliseconds, "
        'true]], or an object like {"class": "pulse.Sweep", "schedule": "*/5 * * * *"}.'
    )


def _is_tail(interval: int, rest: list[Any]) -> bool:
    fits = not rest or (len(rest) == 1 and isinstance(rest[0], bool))
    return fits and not isinstance(interval, bool)


def _field(name: str, field: object, value: Any) -> tuple[str, Any]:
    if not isinstance(field, str) or field not in _FIELDS:
        known = ", ".join(("class", *_FIELDS))
        raise UsageError(f"{KEY}, {name!r}: {field!r} is not a field; known: {known}.")
    wanted = bool if field in ("immediate", "enabled") else str
    if not isinstance(value, wanted):
        takes = "true or false" if wanted is bool else 'a text like "10s" or "*/5 * * * *"'
        raise UsageError(f"{KEY}, {name!r}: {field} is {_shown(value)}; it takes {takes}.")
    return field, value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
