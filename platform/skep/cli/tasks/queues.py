"""`platform queue …`: how full the queues are, whether they are served, and their file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from msgspec.structs import asdict

from skep.base.errors import UsageError
from skep.cli.options import for_platform
from skep.cli.platform_handle import run_dir_of
from skep.cli.tasks.store_client import ask_store, show
from skep.engine.base import Row
from skep.engine.embedded import Embedded
from skep.store.file.opening import rows_of

_COLUMNS = ("queue", "ready", "leased", "scheduled", "blocked", "dead", "oldest", "paused")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
# What is sent to the store at a time: a quarter of the largest request.
_ROWS, _BYTES = 500, 4 * 1024 * 1024


@click.group("queue")
def command() -> None:
    """Look at queues, and stop and resume serving them."""


@command.command("ls")
@for_platform
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool, **flags: Any) -> None:
    """List the queues that hold anything or are paused."""
    stats = ask_store(flags, lambda engine: engine.stats())
    found = [
        {"queue": queue, **asdict(one), "oldest": one.oldest / 1000 or None}
        for queue, one in stats.items()
    ]
    show(found, as_json, _COLUMNS)


@command.command("pause")
@for_platform
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
def pause(queues: tuple[str, ...], **flags: Any) -> None:
    """Start nothing more from these queues, until they are resumed; restarts do not matter.

    What runs goes on, and what is delivered is kept.
    """
    ask_store(flags, lambda engine: engine.pause(queues))
    click.echo(f"Paused: {', '.join(queues)}.")


@command.command("resume")
@for_platform
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
def resume(queues: tuple[str, ...], **flags: Any) -> None:
    """Serve these queues again."""
    ask_store(flags, lambda engine: engine.pause(queues, paused=False))
    click.echo(f"Resumed: {', '.join(queues)}.")


@command.command("acknowledge")
@for_platform
def acknowledge(**flags: Any) -> None:
    """Say that you know what has happened to the queue's file, so that the platform is not degraded
    because of it any more. Prints what that was."""
    whats = ask_store(flags, lambda engine: engine.acknowledge())
    for what in whats:
        click.echo(what)
    if not whats:
        click.echo("Nothing has happened to the queue's file.")


@command.command("recover")
@for_platform
@click.argument(
    "path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def recover(path: Path, **flags: Any) -> None:
    """Take the deliveries and dead letters out of another queue.db, as far as they can be read: one
    that was moved aside, comes from a backup, or was mended by hand.

    Each is taken once, however often this is called; what waits here already is left alone. What
    has ended here in the meantime runs again if the file is a copy from before that.
    """
    if path.resolve() == run_dir_of(flags).queue_file.resolve():
        raise UsageError(f"{path} is the queue of this platform: give the file to recover from.")

    async def run(engine: Embedded) -> tuple[int, int]:
        found = restored = 0
        for rows in _batches(rows_of(path)):
            found += len(rows)
            restored += await engine.restore(rows)
        return found, restored

    found, restored = ask_store(flags, run)
    click.echo(f"{restored} of {found} deliveries and dead letters were taken from {path}.")
    if restored < found:
        click.echo("The others are here, or were taken before.")


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.envelope.body) + len(row.error)
        if len(batch) == _ROWS or size > _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
