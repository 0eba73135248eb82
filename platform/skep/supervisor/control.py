"""The control socket's server side: commands of the CLI and of the console."""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from skep.base.errors import PlatformError

LONGEST_QUESTION = 64 * 1024
# A client that connects and says nothing is not kept.
_PATIENCE = 30.0

Command = Callable[[Mapping[str, Any]], Awaitable[Any]]

log = logging.getLogger(__name__)


class Refusal(PlatformError):
    """The command was understood and is not carried out; `code` is a word for scripts."""

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code


class Control:
    """Answers questions, one JSON object a line, with the commands it was given by name."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
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
            async with asyncio.timeout(_PATIENCE):
                line = await reader.readline()
            if line:
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            log.debug("a client of the control socket went away or sent too much")
        finally:
            self._busy.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            question = json.loads(line)
            command = self._commands[question["cmd"]]
            arguments = question.get("args") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            known = ", ".join(sorted(self._commands))
            return _no(f"That is no question this platform knows; it knows {known}.", "usage")
        try:
            return {"ok": True, "result": await command(arguments)}
        except Refusal as refusal:
            return _no(str(refusal), refusal.code)
        except PlatformError as error:
            return _no(str(error), "error")


def _no(error: str, code: str) -> dict[str, Any]:
    return {"ok": False, "error": error, "code": code}
