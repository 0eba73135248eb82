"""The store's process: a socket in, a database out."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from skep.base.files.filelock import held
from skep.base.sockets.peer import peer_of
from skep.base.telemetry import Telemetry
from skep.engine.ids import now_ms
from skep.store.file.schema import IN_MEMORY, Durability
from skep.store.flusher import Flusher
from skep.store.state.database import Database
from skep.store.state.deliveries import NOBODY
from skep.store.writer import ClientConnection, Writer

log = logging.getLogger(__name__)

# How many seconds an owner may be silent.
LEASE = 30.0
_ACCEPT_PAUSE = 0.1


async def serve(
    listener: socket.socket,
    database: Path,
    *,
    run_id: str,
    stop: asyncio.Event,
    patience: float = 0.0,
    durability: Durability = "full",
    lease: float = LEASE,
    telemetry: Telemetry | None = None,
    troubled: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Be the store behind a unix socket that is bound and listening, until `stop` is set.

    Connected clients then have `patience` seconds to settle what they hold and disconnect. It
    returns when the current transaction is committed and answered; later requests wait for the next
    store on the socket. `run_id` names this run of the platform: a lease from another run is given
    to others at once, one from the same run when its holder has not reconnected within 5 s. A
    holder that is silent for `lease` seconds loses its leases. `troubled` is called with what
    operators should know about the file, first at the start and then whenever that changes. With
    the durability `memory` nothing is written to the database.
    Raises AlreadyRunning when another store holds the database, EngineError when another version
    wrote it, sqlite3.Error when it cannot be written for another reason than a full disk.
    """
    complaint = f"Another store uses {database}: stop its platform, or give another --data-dir."
    async with held(database.with_name(f"{database.name}.lock"), complaint):
        path = IN_MEMORY if durability == "memory" else database
        telemetry = telemetry or Telemetry()
        opened = Database(path, run_id, now_ms(), lambda: telemetry.point("store.corrupt"))
        flusher = Flusher(path, waits=durability == "full")
        writer = Writer(opened, flusher, lease, telemetry, troubled)
        writing = asyncio.create_task(writer.write())
        flushing = asyncio.create_task(flusher.flush())
        accepting = asyncio.create_task(_accept(listener, writer))
        stopping = asyncio.create_task(stop.wait())
        tasks = (writing, flushing, accepting, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await writer.wait_until_alone(patience)
            accepting.cancel()
            writer.stop()
            await writing
            flusher.stop()
            await flushing
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await writer.close()


async def _accept(listener: socket.socket, writer: Writer) -> None:
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    for number in itertools.count(NOBODY + 1):
        try:
            client, _ = await loop.sock_accept(listener)
        except OSError as error:  # out of descriptors, most likely: that passes
            log.error("A client could not be let in: %s", error)
            await asyncio.sleep(_ACCEPT_PAUSE)
            continue
        if peer_of(client).trusted:
            connection = ClientConnection(writer, number)
            await loop.connect_accepted_socket(lambda c=connection: c, client)  # type: ignore[misc]
        else:
            log.error("A process of another user tried to reach the store and was refused.")
            client.close()
