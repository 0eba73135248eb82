"""A TcpListener being served: connections, their frames, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
import weakref
from typing import TYPE_CHECKING, Any, cast

from skep.api.sockets.framing import FrameTooLarge

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from skep.api.sockets.listeners import TcpListener
    from skep.metrics.websocket import SocketMetrics

_LOOK = 0.02
_UNLISTEN = 0.02
# How long a client may take to read what was sent and to close, after we have.
_LINGER = 1.0
# How long a client may take to read what was sent before the end.
_FLUSH = 10.0
# How long a client may take for the handshake of TLS.
_HANDSHAKE = 10.0
# How much of a drain is kept for saying goodbye, and how long a handler may take for it at the end.
_GOODBYE = 1.5

log = logging.getLogger(__name__)


class Handshakes:
    """Accepted connections whose TLS handshake, which may take `patience` seconds, is not finished.

    A protocol learns of its connection only after the handshake. A worker that ended before would
    reset a client that has done nothing wrong.

    `failed` is called for a protocol that ends without a finished handshake: one that begins to
    serve detaches its `handshake`.
    """

    def __init__(self, patience: float, failed: Callable[[], None] | None = None) -> None:
        self._patience = patience
        self._failed = failed
        # asyncio does not notify a protocol whose handshake failed, so references are weak.
        self._since: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    def expect(self, protocol: Any) -> None:
        """Add a protocol; it has no `transport` until its handshake is done."""
        self._since[protocol] = asyncio.get_running_loop().time()
        if self._failed is not None:
            protocol.handshake = weakref.finalize(protocol, self._failed)
            protocol.handshake.atexit = False

    async def settle(self, deadline: float) -> None:
        """Wait until no handshake is pending, or the loop's time is `deadline`."""
        while (now := asyncio.get_running_loop().time()) < deadline and any(  # noqa: ASYNC110
            protocol.transport is None and since > now - self._patience
            for protocol, since in list(self._since.items())
        ):
            await asyncio.sleep(_LOOK)


class TcpServer:
    """Serves one listener in one worker."""

    def __init__(
        self,
        name: str,
        declared: TcpListener,
        counts: SocketMetrics,
        backlog: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.name = name
        self.declared = declared
        self.counts = counts
        self.draining = False
        self._backlog = backlog
        self._tls = tls
        self.connections: dict[ServedTcpConnection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._handshakes = Handshakes(_HANDSHAKE)
        counts.watch(lambda: len(self.connections))

    async def start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._made,
            sock=listener,
            backlog=self._backlog,
            ssl=self._tls,
            ssl_handshake_timeout=_HANDSHAKE if self._tls else None,
        )

    def retire(self) -> None:
        """Notify the handlers; once our copy is closed, new connections reach the new workers."""
        self.draining = True
        for connection in list(self.connections):
            connection.say_goodbye()

    async def drain(self, deadline: float) -> None:
        """Serve the open connections; shortly before the deadline, end them."""
        loop = asyncio.get_running_loop()
        await self._unlisten()
        await self._handshakes.settle(deadline - _GOODBYE)
        await self._wait(deadline - _GOODBYE)
        for connection in list(self.connections):
            connection.end("drained")
        await self._wait(deadline - 0.2)
        for task in self.connections.values():
            task.cancel()
        await self._wait(loop.time() + 0.1)

    def begin(self, connection: ServedTcpConnection) -> None:
        """Serve a new connection, unless there are too many."""
        if len(self.connections) >= self.declared.connections:
            self.counts.closed("full")
            connection.abort()
            return
        self.counts.opened()
        task = asyncio.get_running_loop().create_task(connection.serve())
        self.connections[connection] = task
        task.add_done_callback(lambda _: self.connections.pop(connection, None))
        if self.draining:
            connection.say_goodbye()

    async def _unlisten(self) -> None:
        """Close our copy of the listener. On asyncio's own loop, wait first: an accepted socket
        becomes a connection a moment later, and an earlier close would prevent that."""
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            for listener in self._server.sockets:
                loop.remove_reader(listener.fileno())
            await asyncio.sleep(_UNLISTEN)
        self._server.close()

    def _made(self) -> asyncio.Protocol:
        connection = ServedTcpConnection(self)
        if self._tls is not None:
            self._handshakes.expect(connection)
        return connection

    async def _wait(self, deadline: float) -> None:
        left = deadline - asyncio.get_running_loop().time()
        if self.connections and left > 0:
            await asyncio.wait(list(self.connections.values()), timeout=left)


class ServedTcpConnection(asyncio.StreamReaderProtocol):
    """One connection: asyncio's streams, and the events that they do not pass on. The contract is
    `skep.api.sockets.handlers.TcpConnection`."""

    transport: asyncio.Transport | None = None
    writer: asyncio.StreamWriter

    def __init__(self, server: TcpServer) -> None:
        self._reader = asyncio.StreamReader(limit=server.declared.framing.limit)
        super().__init__(self._reader)
        self.id = secrets.token_hex(8)
        self.since = time.time()
        self.frames = 0
        self.handler = server.declared.handler()
        self._server = server
        self._declared = server.declared
        self._has_sent = False  # the client, anything
        self._deaf = False
        self._client_closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reason = ""
        self._goodbye: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self.writer = asyncio.StreamWriter(self.transport, self, self._reader, loop)
        self._server.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._note_close()

    def eof_received(self) -> bool | None:
        self._note_close()
        return super().eof_received()

    def data_received(self, data: bytes) -> None:
        self._server.counts.bytes_in(len(data))
        if not self._deaf:
            self._has_sent = True
            super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.handler.on_buffer_full(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.handler.on_buffer_empty(self)

    def _note_close(self) -> None:
        if not self._client_closed.done():
            self._client_closed.set_result(None)

    @property
    def peer(self) -> str:
        peer = self.writer.get_extra_info("peername")
        return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""

    @property
    def draining(self) -> bool:
        return self._server.draining

    async def send(self, data: bytes) -> None:
        """Send a frame; abort a client that does not read it for `idle` seconds."""
        if self.writer.is_closing() or self._reason:
            raise ConnectionResetError("The connection is closed.")
        wrapped = self._declared.framing.wrap(data)
        self._server.counts.bytes_out(len(wrapped))
        self.writer.write(wrapped)
        try:
            async with asyncio.timeout(self._declared.idle):
                await self.writer.drain()
        except TimeoutError:
            self._reason = self._reason or "slow"
            self.abort()
            raise ConnectionAbortedError("The client does not read what is sent.") from None

    def close(self) -> None:
        self.end("closed")

    def end(self, reason: str) -> None:
        """Read no more; the first reason counts."""
        if not self._reason:
            self._reason = reason
            self._deaf = True
            self._reader.feed_eof()

    def abort(self) -> None:
        self.writer.transport.abort()

    def say_goodbye(self) -> None:
        self._goodbye = asyncio.get_running_loop().create_task(self._tell_drain())

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "listener": self._server.name,
            "client": self.peer,
            "since": self.since,
            "frames": self.frames,
        }

    async def serve(self) -> None:
        """Serve the client from the first byte to the last."""
        silence = self._watch_for_silence()
        reason = "error"
        try:
            await self.handler.on_connect(self)
            reason = await self._receive()
        except ConnectionError:
            reason = self._reason or "lost"
        except asyncio.CancelledError:
            reason = self._reason or "drained"
        except (Exception, SystemExit):  # the latter would end the worker
            log.exception("the handler of %s failed", self._server.name)
        finally:
            if silence is not None:
                silence.cancel()
            self._server.counts.closed(reason)
            await self._end(reason)

    def _watch_for_silence(self) -> asyncio.TimerHandle | None:
        seconds = self._declared.first_byte
        if seconds is None:
            return None
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, lambda: None if self._has_sent else self.end("silent"))

    async def _receive(self) -> str:
        """Handle frames until there are no more; return why."""
        while not self._reason:
            try:
                async with asyncio.timeout(self._declared.idle):
                    frame = await self._declared.framing.read(self._reader)
            except TimeoutError:
                return "idle"
            except FrameTooLarge:
                return "too_large"
            except asyncio.IncompleteReadError as error:
                return self._reason or ("cut" if error.partial else "eof")
            self.frames += 1
            self._server.counts.received()
            await self.handler.on_receive(self, frame)
        return self._reason

    async def _end(self, reason: str) -> None:
        """Call the handler, then close with a FIN so that what was sent arrives, and throw away
        what the client still sends until it closes too. A close with unread bytes would be a reset.
        """
        self._reason = self._reason or reason
        try:
            await self.handler.on_close(self, reason)
        except (Exception, SystemExit):  # the latter would end the worker
            log.exception("on_close of %s failed", self._server.name)
        if self._goodbye is not None:
            self._goodbye.cancel()
        self._deaf = True
        transport = self.transport
        assert transport is not None
        if not transport.can_write_eof():  # TLS, which says goodbye by itself when it is closed
            self._flush(transport)
            return
        with contextlib.suppress(OSError, RuntimeError):
            if not transport.is_closing():
                transport.write_eof()
                transport.resume_reading()  # to throw away what comes
        done, _ = await asyncio.wait({self._client_closed}, timeout=_LINGER)
        if done:
            self._flush(transport)
        else:
            transport.abort()

    def _flush(self, transport: asyncio.WriteTransport) -> None:
        """Close when the client has read what was sent, which may take a while."""
        transport.close()
        asyncio.get_running_loop().call_later(_FLUSH, transport.abort)

    async def _tell_drain(self) -> None:
        try:
            await self.handler.on_drain(self)
        except ConnectionError:
            return
        except (Exception, SystemExit):  # the latter would end the worker
            log.exception("on_drain of %s failed", self._server.name)
