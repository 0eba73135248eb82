"""`platform queue …`: how full the queues are, whether they are served, and their file."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from msgspec.structs import asdict

from skep.base.errors import UsageError
from skep.cli.platform_handle import PlatformHandle, verb
from skep.cli.tasks.store_client import ask_store, show_rows
from skep.engine.contract import DeliveryRow
from skep.engine.embedded import Embedded
from skep.store.file.opening import rows_of

_COLUMNS = ("queue", "ready", "leased", "scheduled", "blocked", "dead", "oldest", "paused")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
# The largest batch for the store: a quarter of the largest request.
_ROWS, _BYTES = 500, 4 * 1024 * 1024


@click.group("queue")
def queue() -> None:
    """List queues, and pause and resume them."""


@verb("ls", group=queue, json=True)
def ls(platform: PlatformHandle, as_json: bool) -> None:
    """List the queues that hold anything or are paused."""
    stats = ask_store(platform, lambda engine: engine.stats())
    found = [
        {"queue": name, **asdict(one), "oldest": one.oldest / 1000 or None}
        for name, one in stats.items()
    ]
    show_rows(found, as_json, _COLUMNS)


@verb("pause", group=queue)
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
def pause(platform: PlatformHandle, queues: tuple[str, ...]) -> None:
    """Start no more tasks from these queues until they are resumed, also after a restart.

    Running tasks continue, and new deliveries are kept.
    """
    ask_store(platform, lambda engine: engine.pause(queues))
    click.echo(f"Paused: {', '.join(queues)}.")


@verb("resume", group=queue)
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
def resume(platform: PlatformHandle, queues: tuple[str, ...]) -> None:
    """Start tasks from these queues again."""
    ask_store(platform, lambda engine: engine.pause(queues, paused=False))
    click.echo(f"Resumed: {', '.join(queues)}.")


@verb("acknowledge", group=queue)
def acknowledge(platform: PlatformHandle) -> None:
    """Acknowledge what has happened to the queue's file, so that the platform is no longer degraded
    because of it. Prints what has happened."""
    whats = ask_store(platform, lambda engine: engine.acknowledge())
    for what in whats:
        click.echo(what)
    if not whats:
        click.echo("Nothing has happened to the queue's file.")


@verb("recover", group=queue)
@click.argument("path", metavar="FILE", type=_FILE)
def recover(platform: PlatformHandle, path: Path) -> None:
    """Copy the readable deliveries and dead letters from another queue.db: one that was moved
    aside, comes from a backup, or was repaired by hand.

    Each is copied once, however often this is called; what waits here already is not changed. What
    has ended here since the file was copied runs again.
    """
    if path.resolve() == platform.run_dir.queue_file.resolve():
        raise UsageError(f"{path} is the queue of this platform: give the file to recover from.")

    async def run(engine: Embedded) -> tuple[int, int]:
        found = restored = 0
        for rows in _batches(rows_of(path)):
            found += len(rows)
            restored += await engine.restore(rows)
        return found, restored

    found, restored = ask_store(platform, run)
    click.echo(f"{restored} of {found} deliveries and dead letters were taken from {path}.")
    if restored < found:
        click.echo("The others are here, or were taken before.")


def _batches(rows: Iterable[DeliveryRow]) -> Iterator[list[DeliveryRow]]:
    batch: list[DeliveryRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.envelope.body) + len(row.error)
        if len(batch) == _ROWS or size > _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
