"""Checks the rows of a damaged file, and makes dead letters of those that are damaged.

The file may be damaged where SQLite does not look: in the bytes of a text, in the type or the range
of a number. Such a row is read as bytes, checked column by column, and kept as a dead letter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import DecodeError

from skep.engine.contract import DeliveryRow, Envelope, QueueLimits
from skep.engine.ids import new_id
from skep.store.file import schema
from skep.store.file.schema import read_rules

# The reason of a dead letter made of a damaged row.
CORRUPT = "corrupt"
_WAITING = (schema.READY, schema.SCHEDULED, schema.LEASED, schema.BLOCKED)
# How much of a damaged value the dead letter shows.
_SHOWN = 200
_EMPTY: Mapping[str, Any] = {"TEXT": "", "INTEGER": 0, "BLOB": b""}


# The values of a row as far as they are readable, and what is wrong with them.
Judged = tuple[dict[str, Any], list[str]]


class Judge:
    """Checks the rows of one table, whose texts are given as bytes."""

    def __init__(self, table: str, columns: Sequence[schema.Column]) -> None:
        self._columns = columns
        self._names = [column.name for column in columns]
        self._are_texts = [column.kind == "TEXT" for column in columns]
        self._types = [int if column.kind == "INTEGER" else bytes for column in columns]
        self._check = _MEANINGS.get(table)

    def judge(self, raw: Sequence[Any]) -> Judged:
        """Check a row. Nearly all are sound, so those take the fast path."""
        try:
            if [*map(type, raw)] == self._types:
                return self._sound(raw)
        except (DecodeError, ValueError, KeyError):
            pass
        return self._damaged(raw)

    def _sound(self, raw: Sequence[Any]) -> Judged:
        pairs = zip(raw, self._are_texts, strict=True)
        read = [value.decode() if is_text else value for value, is_text in pairs]
        values = dict(zip(self._names, read, strict=True))
        if self._check is not None:
            self._check(values)
        return values, []

    def _damaged(self, raw: Sequence[Any]) -> Judged:
        values: dict[str, Any] = {}
        problems: list[str] = []
        for column, value in zip(self._columns, raw, strict=True):
            values[column.name], problem = _read(column, value)
            problems += [problem] if problem else []
        if not problems and self._check is not None:
            try:
                self._check(values)
            except (DecodeError, ValueError, KeyError) as error:
                problems.append(str(error))
        return values, problems


def dead_letter(
    values: Mapping[str, Any], problems: Sequence[str], known_id: str, now: int
) -> dict[str, Any]:
    """Return the row of `dead` that keeps what could be read of a damaged delivery; `known_id` is
    its id by the index, if that is known."""
    kept = {name: values[name] for name in _CARRIED if name in values}
    for name, read in (("headers", schema.read_headers), ("rules", read_rules)):
        try:
            read(kept.get(name, ""))
        except DecodeError:
            kept[name] = ""
    if not kept.get("id") or "\ufffd" in kept["id"]:
        kept["id"] = known_id or new_id()
    for name, (lowest, highest) in _RANGES.items():
        kept[name] = min(max(kept.get(name, 0), lowest), highest)
    error = f"The row was damaged: {'; '.join(problems)}."
    return {**kept, "reason": CORRUPT, "error": error, "died_at": now}


def _read(column: schema.Column, value: Any) -> tuple[Any, str]:
    """Return the value, or the nearest there is, and what is wrong with it."""
    if column.kind == "INTEGER":
        if type(value) is int:
            return value, ""
    elif isinstance(value, bytes):
        if column.kind == "BLOB":
            return value, ""
        try:
            return value.decode(), ""
        except UnicodeDecodeError:
            shown = repr(value[:_SHOWN])
            return value.decode(errors="replace"), f"{column.name} is not UTF-8: {shown}"
    return _EMPTY[column.kind], f"{column.name} is {value!r:.{_SHOWN}}, not {column.kind}"


def row_of(values: Mapping[str, Any]) -> DeliveryRow:
    """Return a sound row of the tables of deliveries or dead letters as operators see it."""
    state = schema.STATES[values.get("state", schema.DEAD)]
    envelope: Envelope = schema.make_envelope(
        [values.get(name, "") for name in schema.COLUMNS.split(", ")],
        read_rules(values.get("rules", "")),
    )
    return DeliveryRow(
        envelope,
        place=str(values["seq"]),
        state=state,
        attempt=values["attempt"],
        losses=values["losses"],
        put_at=values["put_at"],
        reason=values.get("reason", ""),
        error=values.get("error", ""),
        cuts=values.get("cuts", 0),
    )


def _check_delivery(values: Mapping[str, Any]) -> None:
    """Raise DecodeError, ValueError or KeyError if this cannot be handed out."""
    for name, (lowest, highest) in _RANGES.items():
        if not lowest <= values[name] <= highest:
            raise ValueError(f"{name} is {values[name]}, not from {lowest} to {highest}")
    if values.get("state", schema.READY) not in _WAITING:
        raise ValueError(f"state is {values['state']}")
    schema.read_headers(values["headers"])
    read_rules(values.get("rules", ""))


def _check_queue(values: Mapping[str, Any]) -> None:
    if values["limits"]:
        msgspec.json.decode(values["limits"], type=QueueLimits)


def _check_counted(values: Mapping[str, Any]) -> None:
    msgspec.json.decode(values["labels"], type=tuple[str, ...])


_MEANINGS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "delivery": _check_delivery,
    "dead": _check_delivery,
    "queue": _check_queue,
    "counted": _check_counted,
}
_CARRIED = (*schema.COLUMNS.split(", "), "put_at", "attempt", "losses", "rules", "cuts")
_RANGES = {
    "priority": (-(2**31), 2**31),
    "due": (0, 2**53),
    "put_at": (0, 2**53),
    "attempt": (1, 2**31),
    "losses": (0, 2**31),
}
