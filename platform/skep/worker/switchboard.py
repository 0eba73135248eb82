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
from skep.wire.mesh import Answer, Command, decode_command, pack, read_frame

if TYPE_CHECKING:
    from skep.worker.hub import Hub

log = logging.getLogger(__name__)


class Switchboard:
    """Answers commands, from before the worker accepts until its last connection is gone.

    `name` is that of the worker; `sockets` returns every connection it has, of whatever listener.
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

    async def start(self) -> None:
        """Listen."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        _sweep(self._path.parent)
        self._server = await asyncio.start_unix_server(self._serve, sock=bind_unix(self._path))

    def stop(self) -> None:
        """Be found no more."""
        if self._server is None:
            return
        self._path.unlink(missing_ok=True)
        self._server.close()
        for client in self._clients:
            client.close()

    def answer(self, command: Command) -> Answer:
        """Carry out one command."""
        match command.op:
            case "push":
                content = command.text if command.text is not None else command.data or b""
                return Answer(self._hub.push(command, content))
            case "kick":
                return Answer(self._hub.kick(command))
            case "list":
                return self._rows(self._hub.rows(command))
            case "sockets":
                rows = self._sockets()
                wanted = command.listener
                return self._rows([r for r in rows if not wanted or r["listener"] == wanted])

    def _rows(self, rows: list[dict[str, Any]]) -> Answer:
        return Answer(len(rows), [{**row, "worker": self._name} for row in rows])

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
