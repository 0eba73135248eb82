"""An HTTP server on a real socket that misbehaves on purpose, and an Apollo server made of it.

It speaks to its sockets directly, so that it can do what no HTTP library would. It runs in a thread
with an event loop of its own; scripts may be changed from the test's thread at any time.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A request as it came; `at` is in seconds of the monotonic clock."""

    target: str
    headers: Mapping[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(urlsplit(self.target).query).items()}

    @property
    def ids(self) -> dict[str, int]:
        """The notification ids of a poll."""
        entries = json.loads(self.query["notifications"])
        return {entry["namespaceName"]: entry["notificationId"] for entry in entries}


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def answer(
    status: int = 200,
    body: bytes | str | object = b"",
    headers: Mapping[str, str] | None = None,
    *,
    version: str = "1.1",
) -> Behaviour:
    """Answer properly; what is neither bytes nor text is sent as JSON."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    lines = {
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
        **(headers or {}),
    }
    head = "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v)
    return raw(f"HTTP/{version} {status} X\r\n{head}\r\n".encode() + data, close=version == "1.0")


def released(key: str, **configurations: str) -> Behaviour:
    """Answer with a release."""
    return answer(body={"releaseKey": key, "configurations": configurations})


def told(**ids: int) -> Behaviour:
    """Answer a poll with notification ids."""
    return answer(
        body=[{"namespaceName": name, "notificationId": number} for name, number in ids.items()]
    )


def raw(data: bytes, *, close: bool = False) -> Behaviour:
    """Send these bytes, whatever they are."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return behave


def cut(body: str, claimed: int = 10_000) -> Behaviour:
    """Promise more than is sent, then close."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {claimed}\r\n\r\n"
    return raw((head + body).encode(), close=True)


def reset(after: bytes = b"") -> Behaviour:
    """Send a part, perhaps none, then break the connection (RST)."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


async def close(request: Request, writer: asyncio.StreamWriter) -> None:
    """Close without an answer."""
    writer.close()


async def hang(request: Request, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def trickle(body: str, pause: float = 0.02) -> Behaviour:
    """Answer, one byte at a time: no single read takes long, the whole takes for ever."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        writer.write(head.encode())
        for byte in body.encode() + b" " * 100_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def late(seconds: float, then: Behaviour) -> Behaviour:
    """Do something after a while."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await then(request, writer)

    return behave


def listed(*urls: object, status: int = 200) -> Behaviour:
    """Answer as a meta server that names these config servers."""
    entries = [{"appName": "APOLLO-CONFIGSERVICE", "homepageUrl": url} for url in urls]
    return answer(status, entries)


class FaultyServer:
    """Serves each path by the script of its longest prefix: one behaviour per request, the last
    one from then on. Without a script it hangs."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.requests: list[Request] = []
        self.connections: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.Transport] = set()
        self.loop = asyncio.new_event_loop()
        self._scripts: dict[str, list[Behaviour]] = {}
        self._tls = tls
        self._started = threading.Event()
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: self.loop.run_until_complete(self._main()))
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stopped is not None:
            self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self.loop.close()

    def script(self, prefix: str, *behaviours: Behaviour) -> None:
        """From now on, serve paths that begin so by these behaviours."""
        self._scripts[prefix] = list(behaviours)

    def asked(self, prefix: str) -> list[Request]:
        """Return the requests for paths that begin so, in the order of their arrival."""
        return [request for request in list(self.requests) if request.path.startswith(prefix)]

    async def _main(self) -> None:
        self._stopped = asyncio.Event()
        server = await self.loop.create_server(
            lambda: _Protocol(self._serve, self._transports),
            self.host,
            self.port,
            ssl=self._tls,
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        # A connection may be on its way in: accepted, but not yet with a transport. One that gets
        # there after `close` is lost, and its socket stays open (CPython issue 109564).
        for listener in server.sockets:
            self.loop.remove_reader(listener.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        for transport in list(self._transports):
            transport.abort()
        while self._transports:
            await asyncio.sleep(0)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert isinstance(reader, _Reader)
        self.connections.add(task)
        behaving: asyncio.Task[None] | None = None
        try:
            while not writer.is_closing() and (request := await _request(reader)):
                self.requests.append(request)
                behaving = asyncio.ensure_future(self._behave(request, writer))
                gone = asyncio.ensure_future(reader.ended.wait())
                await asyncio.wait({behaving, gone}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not behaving.done():
                    return
                behaving.result()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            if behaving is not None:
                behaving.cancel()
            writer.transport.abort()
            self.connections.discard(task)

    async def _behave(self, request: Request, writer: asyncio.StreamWriter) -> None:
        prefixes = [p for p in self._scripts if request.path.startswith(p)]
        behaviour: Behaviour = hang
        if prefixes:
            script = self._scripts[max(prefixes, key=len)]
            behaviour = script.pop(0) if len(script) > 1 else script[0]
        await behaviour(request, writer)


class TinyApollo(FaultyServer):
    """As much of a correct Apollo server as the client needs; any of it can be scripted away."""

    def __init__(
        self,
        hold: float = 60.0,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(tls, host, port)
        self.hold = hold
        self._releases: dict[str, tuple[str, dict[str, str], int]] = {}
        self._last_id = 100
        self._news = asyncio.Condition()
        self.script("/configs/", self._config)
        self.script("/notifications/v2", self._notify)

    def well(self, *prefixes: str) -> None:
        """Behave again, at these prefixes."""
        for prefix in prefixes:
            if prefix == "/configs/":
                self.script(prefix, self._config)
            elif prefix == "/notifications/v2":
                self.script(prefix, self._notify)
            else:
                del self._scripts[prefix]

    def publish(self, namespace: str = "application", key: str = "", **values: str) -> int:
        """Publish a release; return its notification id. From any thread.

        A server that comes back publishes before it starts: else it may be asked when it has
        nothing, and is then asked again much later.
        """

        async def publish() -> int:
            async with self._news:
                self._last_id += 1
                name = key or f"key-{self._last_id}"
                self._releases[namespace] = (name, values, self._last_id)
                self._news.notify_all()
                return self._last_id

        return self._run(publish())

    def release_keys(self) -> dict[str, str]:
        """Return the key of the release in each namespace."""
        return {name: key for name, (key, _, _) in self._releases.items()}

    def publish_silently(self, namespace: str = "application", **values: str) -> None:
        """Publish without telling anybody who polls, as after a restored database."""
        key, _, number = self._releases[namespace]
        self._releases[namespace] = (f"{key}+", values, number)

    def delete(self, namespace: str = "application") -> None:
        """Delete a namespace and tell those who poll."""
        self._run(self._delete(namespace))

    async def _delete(self, namespace: str) -> None:
        async with self._news:
            del self._releases[namespace]
            self._news.notify_all()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if not self._started.is_set():
            return self.loop.run_until_complete(coroutine)
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def _config(self, request: Request, writer: asyncio.StreamWriter) -> None:
        namespace = request.path.split("/")[-1]
        if namespace not in self._releases:
            return await answer(404, {"status": 404})(request, writer)
        key, values, _ = self._releases[namespace]
        if request.query.get("releaseKey") == key:
            return await answer(304, headers={"Content-Length": ""})(request, writer)
        await released(key, **values)(request, writer)

    async def _notify(self, request: Request, writer: asyncio.StreamWriter) -> None:
        def news() -> dict[str, int]:
            ids = {n: self._releases[n][2] for n in request.ids if n in self._releases}
            return {name: number for name, number in ids.items() if number > request.ids[name]}

        try:
            async with asyncio.timeout(self.hold), self._news:
                await self._news.wait_for(news)
                found = news()
        except TimeoutError:
            return await answer(304, headers={"Content-Length": ""})(request, writer)
        await told(**found)(request, writer)


async def _request(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines if line)
    return Request(first.split(" ")[1], {name.lower(): value for name, _, value in pairs})


class _Reader(asyncio.StreamReader):
    """A reader that tells when the peer has closed, without reading."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.ended.set()


class _Protocol(asyncio.StreamReaderProtocol):
    """A connection that is known as long as its socket is open."""

    def __init__(
        self,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        transports: set[asyncio.Transport],
    ) -> None:
        super().__init__(_Reader(), serve)
        self._known = transports
        self._mine: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._mine = transport
        self._known.add(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._mine is not None:
            self._known.discard(self._mine)
