"""Clients that keep asking while something happens to the platform, and count what went wrong.

They are raw sockets on purpose: a pooled HTTP client retries behind one's back. A client with a
kept-alive connection behaves as good ones do: it notices that the connection was closed before it
uses it again, and obeys `Connection: close`.
"""

import asyncio
import json
import random
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Way = Literal["fresh", "kept", "thinking"]
# How long a client waits for an answer, in seconds: every client here is to get one.
_PATIENCE = 120.0


@dataclass(frozen=True)
class Answer:
    """One answer: when it was asked for and had (monotonic seconds), and what it said."""

    asked: float
    had: float
    status: int
    body: Any
    way: Way
    last: bool


@dataclass(frozen=True)
class Failure:
    """A request that got no answer; `reused` is whether its connection had been used before."""

    at: float
    way: Way
    reused: bool
    error: str


@dataclass
class Load:
    """Keeps `clients` of each way busy in a thread of its own, between `with` and its end.

    `url` may be that of a unix socket, `unix:/run/app.sock`. Over TLS any certificate will do.
    `path` is asked for with GET, or POST if `method` says so; `header` is one more line of the
    head.
    """

    url: str
    path: str = "/"
    method: str = "GET"
    header: str = ""
    clients: int = 3
    ways: tuple[Way, ...] = ("fresh", "kept", "thinking")
    pause: float = 0.01
    answers: list[Answer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every request in flight end, and the clients with them."""
        self._stop.set()
        self._thread.join()

    def bodies(self, since: float = 0.0) -> list[Any]:
        """Return the bodies of all answers asked for after a moment."""
        return [a.body for a in self.answers if a.asked >= since]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for way in self.ways:
                for _ in range(self.clients):
                    group.create_task(self._client(way))

    async def _client(self, way: Way) -> None:
        connection: _Connection | None = None
        while not self._stop.is_set():
            if connection is not None and connection.over:
                await connection.close()
                connection = None
            if connection is None:
                connection = _Connection(self.url, self.header)
            reused = connection.used
            asked = time.monotonic()
            try:
                status, body, last = await connection.ask(self.method, self.path)
            except (OSError, EOFError, ValueError) as error:
                text = f"{type(error).__name__}: {error}"
                self.failures.append(Failure(time.monotonic(), way, reused, text))
                await connection.close()
                connection = None
                await asyncio.sleep(0.01)
                continue
            self.answers.append(Answer(asked, time.monotonic(), status, body, way, last))
            if way == "fresh" or last:
                await connection.close()
                connection = None
            think = random.uniform(0, 0.3) if way == "thinking" else self.pause
            await asyncio.sleep(think)
        if connection is not None:
            await connection.close()


class _Connection:
    def __init__(self, url: str, header: str = "") -> None:
        self._header = f"{header}\r\n" if header else ""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._path = parts.path if parts.scheme == "unix" else ""
        self._tls = _unverified() if parts.scheme == "https" else None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.used = False

    @property
    def over(self) -> bool:
        """Whether the server has closed it, as far as that is known here."""
        return self._reader is not None and self._reader.at_eof()

    async def ask(self, method: str, path: str) -> tuple[int, Any, bool]:
        async with asyncio.timeout(_PATIENCE):
            if self._writer is None or self._reader is None:
                self._reader, self._writer = await (
                    asyncio.open_unix_connection(self._path)
                    if self._path
                    else asyncio.open_connection(self._host, self._port, ssl=self._tls)
                )
            more = self._header + ("content-length: 0\r\n" if method == "POST" else "")
            self._writer.write(
                f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n".encode()
            )
            await self._writer.drain()
            self.used = True
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
            status = int(lines[0].split(" ")[1])
            parsed = json.loads(body) if "json" in headers.get("content-type", "") else body
            return status, parsed, headers.get("connection") == "close"

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            try:
                await self._writer.wait_closed()
            except OSError:
                return


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
