"""The control socket's server side: commands of the CLI and of the console.

No client may delay the supervisor: a request is small and arrives soon, and few clients are served
at a time. A client that is, by the kernel's word, neither root nor our own user is rejected.
"""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from skep.base.errors import PlatformError
from skep.base.sockets.peer import Peer, peer_of
from skep.supervisor.control.records import Audit, Operations

LONGEST_QUESTION = 64 * 1024
MOST_CLIENTS = 16
# A client that connects and says nothing, or does not read its answer, is not kept.
_PATIENCE = 30.0
# Read a rejected client's request for this long: closing earlier would discard our answer.
_FAREWELL = 1.0
# These change nothing, so they are not audited.
_READING = frozenset(
    {"status", "ready", "metrics", "ps", "info", "history", "check", "dump", "proc.ls"}
    | {"config.plan", "config.history", "config.settled"}
)
# Operations that are over with the answer; the others say themselves when they begin and end.
_OPERATIONS = frozenset({"scale", "drain", "undrain", "log_level", "proc.restart"})

DRAINED = "The platform is drained; say `platform undrain` first."
Command = Callable[[Mapping[str, Any]], Awaitable[Any]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """One client and its request; `writer` is None unless it wants news before the answer."""

    peer: Peer
    writer: asyncio.StreamWriter | None

    def tell(self, news: Mapping[str, Any]) -> None:
        """Send it news, if it wants any."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(_line({"news": news}))

    def __str__(self) -> str:
        return f"uid {self.peer.uid} (pid {self.peer.pid})"


_current: ContextVar[Caller] = ContextVar("skep_caller")


def enter(caller: Caller) -> None:
    """Answer for this caller from now on, in the current task and in those it starts."""
    _current.set(caller)


def current_caller() -> Caller | None:
    """Return who has asked; None outside a command."""
    return _current.get(None)


class CommandRefused(PlatformError):
    """The command was understood and is not carried out; `code` is a word for scripts."""

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code


class ControlServer:
    """Answers questions, one JSON object a line, with the commands it was given by name."""

    def __init__(
        self,
        commands: Mapping[str, Command],
        audit: Audit | None = None,
        operations: Operations | None = None,
    ) -> None:
        self._commands = commands
        self._audit = audit
        self._operations = operations
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a listening unix socket."""
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=LONGEST_QUESTION
        )

    async def stop(self) -> None:
        """Answer what is being asked, for a moment, and close."""
        if self._server is None:
            return
        self._server.close()
        if self._busy:
            await asyncio.wait(self._busy, timeout=0.5)
        for task in self._busy:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            peer = peer_of(writer.get_extra_info("socket"))
            if (refusal := self._sent_away(peer)) is not None:
                await _send_away(reader, writer, refusal)
                return
            async with asyncio.timeout(_PATIENCE):
                line = await reader.readline()
            if line:
                answer = await self._answer(line, peer, writer)
                writer.write(_line(answer))
                async with asyncio.timeout(_PATIENCE):
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            log.debug("a client of the control socket went away or sent too much")
            writer.transport.abort()
        finally:
            self._busy.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _sent_away(self, peer: Peer) -> dict[str, Any] | None:
        if not peer.trusted:
            log.warning("uid %d (pid %d) is not let in to the control socket", peer.uid, peer.pid)
            return _no("Only root and the user who runs the platform may do that.", "permission")
        if len(self._busy) > MOST_CLIENTS:
            return _no(f"{MOST_CLIENTS} clients are being served already; try again.", "busy")
        return None

    async def _answer(
        self, line: bytes, peer: Peer, writer: asyncio.StreamWriter
    ) -> dict[str, Any]:
        try:
            question = json.loads(line)
            name, command = question["cmd"], self._commands[question["cmd"]]
            arguments = dict(question.get("args") or {})
            wants_news = question.get("news") is True
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            known = ", ".join(sorted(self._commands))
            return _no(f"Unknown command. Known: {known}.", "usage")
        caller = Caller(peer, writer if wants_news else None)
        enter(caller)
        if self._operations is not None and name in _OPERATIONS:
            what = " ".join(f"{value}" for value in arguments.values())
            operation = self._operations.begin(name.replace("_", "-"), str(caller), what)
            answer = await _carry_out(command, arguments)
            self._operations.end(operation, "ok" if answer["ok"] else "refused")
        else:
            answer = await _carry_out(command, arguments)
        if self._audit is not None and name not in _READING:
            outcome = "ok" if answer["ok"] else answer["code"]
            self._audit.record(peer, name, arguments, outcome, time.time())
        return answer


async def _send_away(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refusal: dict[str, Any]
) -> None:
    writer.write(_line(refusal))
    async with asyncio.timeout(_FAREWELL):
        await reader.readline()


async def _carry_out(command: Command, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": True, "result": await command(arguments)}
    except CommandRefused as refusal:
        return _no(str(refusal), refusal.code)
    except PlatformError as error:
        return _no(str(error), "error")
    except (KeyError, TypeError, ValueError) as error:
        log.exception("a command of the control socket was given what it cannot use")
        return _no(f"The arguments do not fit ({type(error).__name__}: {error}).", "usage")


def _line(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode() + b"\n"


def _no(error: str, code: str) -> dict[str, Any]:
    return {"ok": False, "error": error, "code": code}
