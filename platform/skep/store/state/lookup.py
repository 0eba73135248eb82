"""Lists deliveries for operators, beside the writer and without blocking it."""

from typing import Any

from skep.engine.contract import DeliveryRow
from skep.engine.protocol import Find, Scan
from skep.store.file import schema
from skep.store.file.rules import read_rules
from skep.store.state.database import Database

_COLUMNS = f"seq, {schema.COLUMNS}, rules, attempt, losses, put_at"
_WAITING = f"SELECT {_COLUMNS}, holder, '', error, progress, cancelled, cuts, state FROM delivery"
_DEAD = f"SELECT {_COLUMNS}, '', reason, error, '', 0, cuts, 3 FROM dead"
_PAGE = "seq > ? ORDER BY seq LIMIT ?"


def scan(database: Database, ask: Scan) -> list[DeliveryRow]:
    """Return up to `n` rows of one queue and state, from the one after the place `after`."""
    is_place = ask.after.isdecimal() and len(ask.after) <= schema.LONGEST_SEQ
    place = int(ask.after) if is_place else 0
    with database.reader() as reader:
        if ask.state == "dead":
            found = reader.execute(
                f"{_DEAD} WHERE queue = ? AND {_PAGE}", (ask.queue, place, ask.n)
            )
        else:
            values = (ask.queue, schema.STATES.index(ask.state), place, ask.n)
            found = reader.execute(f"{_WAITING} WHERE queue = ? AND state = ? AND {_PAGE}", values)
        return [_row(row) for row in found]


def find(database: Database, ask: Find) -> list[DeliveryRow]:
    """Return the delivery of this id, waiting or leased; or else dead."""
    with database.reader() as reader:
        for table in (_WAITING, _DEAD):
            row = reader.execute(f"{table} WHERE id = ?", (ask.id,)).fetchone()
            if row is not None:
                return [_row(row)]
    return []


def _row(row: tuple[Any, ...]) -> DeliveryRow:
    (seq, *columns), (rules, *rest, cancelled, cuts, state) = row[:10], row[10:]
    rest += [bool(cancelled), cuts]
    envelope = schema.make_envelope(columns, read_rules(rules))
    return DeliveryRow(envelope, str(seq), schema.STATES[state], *rest)
