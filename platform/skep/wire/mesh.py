"""Requests of any process of the platform to all web workers, about their connections.

Each web worker listens on a unix socket of its own in the data directory, from before it accepts
until its last connection is gone; a client lists the directory and asks them all. No record is
kept of who has which connection, so none can be out of date, even during a rollout.

A frame is a length (4 bytes, big-endian) and msgpack. Answers come in the order of the questions.
"""

import asyncio
import contextlib
import os
from collections import deque
from pathlib import Path
from typing import Any, Literal

import msgspec

LONGEST = 64 * 1024 * 1024
_HEAD = 4
# The longest wait (seconds) for a worker whose event loop is stuck.
_PATIENCE = 5.0

Op = Literal["push", "kick", "list", "sockets"]


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question. Of `user`, `room` and `connection` at most one is set; none means all.

    `push` sends `text` or `data`; `kick` closes with `code` and `reason`; `list` returns the
    WebSockets; `sockets` every connection of `listener`, or all.
    """

    op: Op
    user: str | None = None
    room: str | None = None
    connection: str | None = None
    text: str | None = None
    data: bytes | None = None
    code: int = 1000
    reason: str = ""
    listener: str = ""


class MeshAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many connections it concerned, or what there is to say of each."""

    count: int = 0
    rows: list[dict[str, Any]] = []


_decode_answer = msgspec.msgpack.Decoder(MeshAnswer).decode
decode_command = msgspec.msgpack.Decoder(Command).decode


def pack(message: Command | MeshAnswer) -> bytes:
    """Return the message as a frame."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(_HEAD, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the body of the next frame.

    Raises asyncio.IncompleteReadError at the end, ConnectionError when it is not a frame of ours.
    """
    length = int.from_bytes(await reader.readexactly(_HEAD), "big")
    if length > LONGEST:
        raise ConnectionAbortedError(f"a frame of {length} bytes")
    return await reader.readexactly(length)


class Mesh:
    """The web workers of this machine, for one event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._peers: dict[str, _Peer] = {}
        self._descriptor: int | None = None

    async def ask(self, command: Command) -> MeshAnswer:
        """Ask all that are there; one that does not answer in time counts as having none."""
        frame = pack(command)
        answers = await asyncio.gather(*(self._ask(name, frame) for name in self._names()))
        rows = [row for answer in answers for row in answer.rows]
        return MeshAnswer(sum(answer.count for answer in answers), rows)

    def close(self) -> None:
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _names(self) -> list[str]:
        try:
            names = [name for name in os.listdir(self._folder) if name.endswith(".sock")]
        except FileNotFoundError:
            return []
        for name in self._peers.keys() - set(names):
            self._peers.pop(name).close()
        return sorted(names)

    async def _ask(self, name: str, frame: bytes) -> MeshAnswer:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await (await self._peer(name)).ask(frame)
        except ConnectionRefusedError:
            # Its worker was killed; the name holds its process id, so no other has it now.
            with contextlib.suppress(OSError):  # a read-only directory keeps it
                (self._folder / name).unlink()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            if (peer := self._peers.pop(name, None)) is not None:
                peer.close()
        return MeshAnswer()

    async def _peer(self, name: str) -> "_Peer":
        peer = self._peers.get(name)
        if peer is None or peer.closed:
            reader, writer = await asyncio.open_unix_connection(self._address(name))
            known = self._peers.get(name)
            if known is not None and not known.closed:  # another task was quicker
                writer.close()
                return known
            peer = self._peers[name] = _Peer(reader, writer)
        return peer

    def _address(self, name: str) -> str:
        """Reach it through a descriptor of the folder: the kernel takes short paths only."""
        if not os.path.isdir("/proc/self/fd"):
            return str(self._folder / name)
        if self._descriptor is None:
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._descriptor}/{name}"


class _Peer:
    """A connection to one worker; questions may overtake the answers to earlier ones."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[MeshAnswer]] = deque()
        self._reading = asyncio.create_task(self._read())
        self.closed = False

    async def ask(self, frame: bytes) -> MeshAnswer:
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._writer.write(frame)
        await self._writer.drain()
        found: MeshAnswer = await answer
        return found

    def close(self) -> None:
        self.closed = True
        self._reading.cancel()
        self._writer.close()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(ConnectionResetError("the worker is gone"))
                answer.exception()  # the task that waited for it may be gone too
        self._waiting.clear()

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                found = _decode_answer(await read_frame(self._reader))
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(found)
        self.close()
