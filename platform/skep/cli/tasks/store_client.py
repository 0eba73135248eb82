"""Ask the store of the running platform about deliveries, and show them."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from rich.markup import escape

from skep.base.logs import log
from skep.base.logs.masking import mask_document
from skep.cli.output import print_table, show, tint
from skep.cli.platform_handle import PlatformHandle
from skep.engine.contract import DeliveryRow, Engine, RowState
from skep.engine.embedded import Embedded
from skep.engine.headers import LISTENER, ORIGIN, STEP
from skep.engine.senders import described

T = TypeVar("T")

_PAGE = 1000
_LONGEST_ERROR = 10_000


def ask_store(platform: PlatformHandle, question: Callable[[Embedded], Awaitable[T]]) -> T:
    """Ask the store of the running platform. Raises NotRunning, StoreUnavailable."""
    platform.ask("ready")  # waits for a platform that is starting

    async def run() -> T:
        engine = Embedded(platform.run_dir.store_socket, f"cli:{os.getpid()}")
        await engine.open()
        try:
            return await question(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


async def rows_of(
    engine: Engine, queue: str, states: Sequence[RowState], most: int, name: str = ""
) -> list[DeliveryRow]:
    """Return up to `most` rows in these states, of one queue or of all, whose task or listener has
    a name that begins with `name`."""
    found: list[DeliveryRow] = []
    for one in [queue] if queue else sorted(await engine.stats()):
        for state in states:
            after = ""
            while len(found) < most and (page := await engine.scan(one, state, after, _PAGE)):
                found += [row for row in page if _name(row).startswith(name)]
                after = page[-1].place
    return found[:most]


def document(row: DeliveryRow) -> dict[str, Any]:
    envelope = row.envelope
    return {
        "id": envelope.id,
        "name": _name(row),
        "queue": envelope.queue,
        "state": row.state,
        "attempt": row.attempt,
        "losses": row.losses,
        "cuts": row.cuts,
        "priority": envelope.priority,
        "put_at": row.put_at / 1000,
        "due": envelope.due / 1000 or None,
        "holder": _worker(row.holder),
        "sender": described(envelope.sender),
        "origin": envelope.headers.get(ORIGIN, envelope.id),
        "key": envelope.key,
        "progress": mask_document(_parsed(row.progress)),
        "cancelled": row.cancelled,
        "reason": row.reason,
        "error": log.excerpt(row.error, _LONGEST_ERROR),  # earlier versions kept all of it
        "headers": envelope.headers,
        "payload": mask_document(_parsed(envelope.body.decode(errors="replace"))),
    }


def show_rows(rows: Sequence[dict[str, Any]], as_json: bool, columns: Sequence[str]) -> None:
    """Print deliveries or queues, as JSON or as a table of these columns."""

    def render(rows: Sequence[dict[str, Any]]) -> None:
        print_table(columns, ([_cell(column, row[column]) for column in columns] for row in rows))

    show(rows, as_json, render)


def _cell(column: str, value: Any) -> str:
    if column == "state":
        return tint(value)
    if column in ("put_at", "due", "oldest"):
        return _ago(value)
    if column == "error":
        return escape(value.strip().rpartition("\n")[2])
    if value in (None, ""):
        return "-"
    return escape(value if isinstance(value, str) else json.dumps(value))


def _ago(moment: float | None) -> str:
    if not moment:
        return "-"
    seconds = time.time() - moment
    return f"{seconds:.0f} s ago" if seconds >= 0 else f"in {-seconds:.0f} s"


def _name(row: DeliveryRow) -> str:
    """Return the name of what runs: a task, its `finish` or `failed`, or a listener."""
    headers = row.envelope.headers
    step = f".{headers[STEP]}" if STEP in headers else ""
    return headers.get(LISTENER) or f"{row.envelope.name}{step}"


def _worker(holder: str) -> str:
    """Return `task.0@3/4711` from a holder, which begins with the run of the platform."""
    return holder.partition("/")[2] or holder


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
