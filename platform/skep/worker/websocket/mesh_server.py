"""A web worker's ear for the mesh: what others ask of its connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skep.base.rundir import bind_unix
from skep.wire.mesh import Command, MeshAnswer, decode_command, pack, read_frame

if TYPE_CHECKING:
    from skep.worker.websocket.registry import Hub

log = logging.getLogger(__name__)

# How often, in seconds, a socket is tried again that the directory did not take.
_AGAIN = 3.0


class Switchboard:
    """Answers commands, from before the worker accepts until its last connection is gone.

    `name` is that of the worker; `sockets` returns every connection it has, of whatever listener.
    `trouble` is why others cannot reach it, empty if they can.
    """

    def __init__(
        self, folder: Path, name: str, hub: Hub, sockets: Callable[[], list[dict[str, Any]]]
    ) -> None:
        self._path = folder / f"{name}.{os.getpid()}.sock"
        self._name = name
        self._hub = hub
        self._sockets = sockets
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._trying: asyncio.Task[None] | None = None
        self.trouble = ""

    async def start(self) -> None:
        """Listen. A directory that takes no socket (no inode is left, or it is read-only) costs the
        pushes to this worker's WebSockets, and nothing else; it is tried again now and then."""
        await self._listen()
        if self.trouble:
            log.error("%s; trying again every %.0f s", self.trouble, _AGAIN)
            self._trying = asyncio.create_task(self._try_again())

    def stop(self) -> None:
        """Be found no more."""
        if self._trying is not None:
            self._trying.cancel()
        if self._server is None:
            return
        with contextlib.suppress(OSError):  # read-only by now: the next worker sweeps
            self._path.unlink()
        self._server.close()
        for client in self._clients:
            client.close()

    async def _listen(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            _sweep(self._path.parent)
            listener = bind_unix(self._path)
        except OSError as error:
            self.trouble = (
                f"serves without push: {self._path.parent} takes no socket ({error.strerror})"
            )
            return
        self.trouble = ""
        self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    async def _try_again(self) -> None:
        while self.trouble:
            await asyncio.sleep(_AGAIN)
            await self._listen()
        log.info("pushes arrive again: %s takes sockets", self._path.parent)

    def answer(self, command: Command) -> MeshAnswer:
        """Carry out one command."""
        match command.op:
            case "push":
                content = command.text if command.text is not None else command.data or b""
                return MeshAnswer(self._hub.push(command, content))
            case "kick":
                return MeshAnswer(self._hub.kick(command))
            case "list":
                return self._rows(self._hub.rows(command))
            case "sockets":
                rows = self._sockets()
                wanted = command.listener
                return self._rows([r for r in rows if not wanted or r["listener"] == wanted])

    def _rows(self, rows: list[dict[str, Any]]) -> MeshAnswer:
        return MeshAnswer(len(rows), [{**row, "worker": self._name} for row in rows])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    command = decode_command(await read_frame(reader))
                    writer.write(pack(self.answer(command)))
                    await writer.drain()
        finally:
            self._clients.discard(writer)
            writer.close()


def _sweep(folder: Path) -> None:
    """Remove what workers that were killed have left; the name says whose it was."""
    for path in folder.glob("*.sock"):
        pid = path.name.removesuffix(".sock").rpartition(".")[2]
        with contextlib.suppress(PermissionError, ValueError):
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)
