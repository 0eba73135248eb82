"""A look into the queue for operators, beside the writer and without holding it up."""

from contextlib import closing
from pathlib import Path
from typing import Any

from skep.engine.base import Envelope, Row, RowState
from skep.store import file

_COLUMNS = "seq, id, name, body, queue, headers, due, priority, attempt, losses, put_at"
_WAITING = f"""
SELECT {_COLUMNS}, holder, '', '' FROM delivery
WHERE queue = ? AND state = ? AND seq > ? ORDER BY seq LIMIT ?"""
_DEAD = f"""
SELECT {_COLUMNS}, '', reason, error FROM dead
WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"""
_STATES = ("ready", "scheduled", "leased")


def scan(path: Path, queue: str, state: RowState, after: str, n: int) -> list[Row]:
    """Return up to `n` rows of one queue and state, from the one behind the place `after` on."""
    place = int(after or 0)
    with closing(file.connect_to_read(path)) as database:
        if state == "dead":
            rows = database.execute(_DEAD, (queue, place, n)).fetchall()
        else:
            number = _STATES.index(state)
            rows = database.execute(_WAITING, (queue, number, place, n)).fetchall()
    return [_row(row, state) for row in rows]


def _row(row: tuple[Any, ...], state: RowState) -> Row:
    seq, id_, name, body, queue, headers, due, priority, attempt, losses, put_at = row[:11]
    envelope = Envelope(id_, name, body, queue, file.read_headers(headers), due, priority)
    return Row(envelope, str(seq), state, attempt, losses, put_at, *row[11:])
