"""What the verbs about tasks, dead letters and queues share: how to ask, and how to show."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skep.base import log
from skep.base.errors import NotRunning
from skep.base.masking import mask_document
from skep.cli.platform_handle import run_dir_of
from skep.config.secret_names import declare_kept
from skep.engine.base import Engine, Row, RowState
from skep.engine.embedded import Embedded
from skep.engine.headers import LISTENER, ORIGIN, STEP
from skep.engine.senders import described

T = TypeVar("T")

_PAGE = 1000
_LONGEST_ERROR = 10_000
_COLOURS = {"ready": "green", "leased": "cyan", "dead": "red", "blocked": "yellow"}


def ask_store(flags: dict[str, Any], question: Callable[[Embedded], Awaitable[T]]) -> T:
    """Ask the store of the running platform. Raises NotRunning, StoreUnavailable."""
    run_dir = run_dir_of(flags)
    declare_kept(run_dir.config_dir)
    if not run_dir.store_socket.exists():
        raise NotRunning(
            f"No platform is running on {run_dir.path}: start it with `platform start`."
        )

    async def run() -> T:
        engine = Embedded(run_dir.store_socket, f"cli:{os.getpid()}")
        await engine.open()
        try:
            return await question(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


async def rows_of(
    engine: Engine, queue: str, states: Sequence[RowState], most: int, name: str = ""
) -> list[Row]:
    """Return up to `most` rows of one queue, or of all, in these states, of tasks whose name begins
    so."""
    found: list[Row] = []
    for one in [queue] if queue else sorted(await engine.stats()):
        for state in states:
            after = ""
            while len(found) < most and (page := await engine.scan(one, state, after, _PAGE)):
                found += [row for row in page if called(row).startswith(name)]
                after = page[-1].place
    return found[:most]


def called(row: Row) -> str:
    """Return the name of what is to run: a task, its `finish` or `failed`, or a listener."""
    headers = row.envelope.headers
    step = f".{headers[STEP]}" if STEP in headers else ""
    return headers.get(LISTENER) or f"{row.envelope.name}{step}"


def document(row: Row) -> dict[str, Any]:
    """Return a delivery as it is printed with --json."""
    envelope = row.envelope
    return {
        "id": envelope.id,
        "name": called(row),
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
        "error": log.excerpt(row.error, _LONGEST_ERROR),  # a version before this one kept it as is
        "headers": envelope.headers,
        "payload": mask_document(_parsed(envelope.body.decode(errors="replace"))),
    }


def show(found: Sequence[dict[str, Any]], as_json: bool, columns: Sequence[str]) -> None:
    """Print deliveries or queues, as JSON or as a table of these columns."""
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column in ("id", "name", "queue"))
    for entry in found:
        table.add_row(*(cell(column, entry[column]) for column in columns))
    # Wide enough for what must not be cut when the output is no terminal.
    width = None if Console().is_terminal else 200
    Console(highlight=False, width=width).print(table)


def cell(column: str, value: Any) -> str:
    """Return a value as it stands in a table."""
    if column == "state":
        return f"[{_COLOURS.get(value, 'white')}]{value}[/]"
    if column in ("put_at", "due", "oldest"):
        return _ago(value)
    if column == "error":
        return escape(value.strip().rpartition("\n")[2])
    if value in (None, ""):
        return "-"
    return escape(value if isinstance(value, str) else json.dumps(value))


def moment(seconds: float | None) -> str:
    """Return a moment as it stands among the facts of one delivery."""
    if not seconds:
        return "-"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S.%f} UTC"


def _ago(moment: float | None) -> str:
    if not moment:
        return "-"
    seconds = time.time() - moment
    return f"{seconds:.0f} s ago" if seconds >= 0 else f"in {-seconds:.0f} s"


def _worker(holder: str) -> str:
    """Return `task.0@3/4711` of a holder, which also names its run of the platform."""
    return holder.partition("/")[2] or holder


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
