"""One WebSocket connection: uvicorn's protocol, with limits.

Whatever a client does ends in bounded time and memory. Bad UTF-8 is 1007, an oversized message
1009, a failed handler 1011; a client that reads too slowly gets 1013, one that sends too many
frames without content 1008, an idle one 1000; one that does not answer pings is cut off. Our close
frame arrives although the client still sends: the rest is read and thrown away until it closes, or
time is up.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from skep.api.sockets.websocket import EXTENSION
from skep.worker.http.middleware import route_of
from skep.worker.http.request_head import CONTROL, HttpRefusal, check_handshake
from skep.worker.websocket.registry import NORMAL, Registry, ServedConnection
from skep.worker.websocket.send_queue import SendQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uvicorn.server import ServerState

    from skep.config.options.table import Options

ABNORMAL, BAD_TEXT, BAD_CONDUCT, FAILED, SLOW = 1006, 1007, 1008, 1011, 1013
# How long the other side may take to answer a close frame before the connection is cut (seconds).
_CLOSING = 3.0
# Parse this many bytes at once. If they hold a message, wait until the application takes it; after
# this many fragments, let other connections run.
_PIECE, _MOST_FRAGMENTS = 4096, 100
# How many pings, pongs and empty fragments a client may send in a second.
_MOST_LIGHT_FRAMES = 1000
# How many bytes a client may send before it has the answer to its handshake.
_EARLY = 64 * 1024
# Lets the parser of frames past the handshake, which was parsed as the HTTP request it is.
_PARSED = b"GET / HTTP/1.1\r\n\r\n"

log = logging.getLogger("skep.websocket")
# What the library says of a client's mistakes is counted, not logged.
_quiet = logging.getLogger("skep.websocket.protocol")
_quiet.setLevel(logging.CRITICAL)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Made by an HTTP protocol when the head of a handshake has arrived; carries one connection."""

    scope: Any

    def __init__(
        self,
        config: Any,
        server_state: ServerState,
        app_state: dict[str, Any],
        registry: Registry,
        options: Options,
        listener: str,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.logger = self.conn.logger = _quiet
        self.close_timeout = _CLOSING
        self.connection = ServedConnection(self, registry)
        self.sending = SendQueue()
        self.listener = listener
        self.code = 0
        self._registry = registry
        self._idle = options.websocket_idle_timeout
        self._most_unsent = options.websocket_send_limit
        self._doom: tuple[int, str] | None = None
        self._deaf = False
        self._last = self.loop.time()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._next_turn: asyncio.Handle | None = None
        self._pending = b""  # received, and not parsed yet
        self._fragments = 0  # in the piece that is being parsed
        self._light_frames = 0  # since `_light_since`
        self._light_since = 0.0

    @property
    def open(self) -> bool:
        accepted = self.handshake_complete and self.initial_response is None
        return accepted and not self.close_sent and not self.transport.is_closing()

    def push(self, message: bytes) -> bool:
        """Send an encoded message without waiting; return False if the connection is closed, or so
        slow that it is closed now."""
        if not self.open:
            return False
        if self.transport.get_write_buffer_size() > self._most_unsent:
            self.hang_up(SLOW, "too slow")
            return False
        self.transport.write(message)
        self._note_sent(len(message))
        self._last = self.loop.time()
        return True

    @property
    def waiting(self) -> int:
        """How many messages wait because the client is slow."""
        return self.sending.waiting(self.transport.get_write_buffer_size())

    async def until_writable(self) -> None:
        """Wait until the client has read enough for another message."""
        self.sending.hold(+1)
        self._registry.note_slow(self.connection)
        try:
            await self.writable.wait()
        finally:
            self.sending.hold(-1)

    def hang_up(self, code: int, reason: str = "") -> None:
        """Close from our side; the application receives a disconnect."""
        if not self.handshake_complete:
            self._doom = (code, reason)
            return
        if not self.open:
            return
        self.code = code
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self._write()
        self._closing()

    # What the HTTP protocol calls.

    def check(self, method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises HttpRefusal if this request cannot open a WebSocket."""
        try:
            check_handshake(method, headers)
        except HttpRefusal:
            self._registry.counts.refused("invalid")
            raise

    def open_with(
        self, target: str, headers: Iterable[tuple[bytes, bytes]], patience: float
    ) -> None:
        """Begin with this request; the application has `patience` seconds to answer it."""
        self.conn.receive_data(_PARSED)
        self.conn.events_received()
        pairs = [(name.decode("ascii"), value.decode("latin-1")) for name, value in headers]
        self._handshake_timer = self.loop.call_later(patience, self._despair)
        self.handle_connect(Request(target, Headers(pairs)))

    # What uvicorn calls.

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._idle_timer, self._handshake_timer):
            if timer is not None:
                timer.cancel()
        code = self.code or ABNORMAL
        self._registry.remove(self.connection, code)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        """Pass the connection to the application in the scope."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][EXTENSION] = self.connection
            self.connection.scope = self.scope
        else:
            self._registry.counts.refused("invalid")

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless nothing more is wanted."""
        if self._deaf:
            return
        self._pending += data
        if self._handshake_timer is None:
            self._parse()
        elif len(self._pending) > _EARLY:
            self._pause()

    def handle_ping(self) -> None:
        """Answer, if the client reads the answers."""
        self._count_light_frame()
        pong = b"".join(self.conn.data_to_send())
        if self.transport.get_write_buffer_size() > self._most_unsent:
            self._turn_away(SLOW, "too slow")
        elif not self._deaf:
            self.transport.write(pong)

    def handle_pong(self, event: Frame) -> None:
        self._count_light_frame()
        super().handle_pong(event)

    def handle_text(self, event: Frame) -> None:
        self._count_fragment(event)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._count_fragment(event)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Continue a message. Its fragments are joined as they arrive: as a list they would take
        many times their size."""
        self._count_fragment(event)
        if event.fin:
            super().handle_cont(event)
            return
        if not isinstance(self.frames[0], bytearray):
            self.frames[0] = bytearray(self.frames[0])  # type: ignore[call-overload]
        self.frames[0] += event.data

    async def receive(self) -> Any:
        """Return the next event. After the last one, read on."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            if self._pending:
                self._go_on_soon()
            else:
                self.read_paused = False
                self.transport.resume_reading()
        return message

    def send_receive_event_to_app(self) -> None:
        self._last = self.loop.time()
        if self.curr_msg_data_type == "text" and not _is_text(self.frames):
            self.frames = []
            self.conn.fail(BAD_TEXT, "invalid UTF-8")
            self.handle_parser_exception()
            return
        self.connection.counts.received(sum(map(len, self.frames)))
        super().send_receive_event_to_app()

    def handle_close(self, event: Any) -> None:
        if not self.code and self.conn.close_rcvd is not None:
            self.code = self.conn.close_rcvd.code
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        """End after invalid data; the close frame with the reason is ready to be sent."""
        close = self.conn.close_sent
        self.code = close.code if close else ABNORMAL
        reason = close.reason if close else ""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": self.code, "reason": reason})
        self._write()
        self._deaf = True
        self._closing()
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    def keepalive_timeout(self) -> None:
        """Close without waiting: a ping was not answered, so the other side is gone."""
        self.code = self.code or FAILED
        super().keepalive_timeout()
        self.loop.call_later(_CLOSING, self.transport.abort)

    async def run_asgi(self) -> None:
        """Run the application for this connection; the connection ends with it."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except (ClientDisconnected, WebSocketDisconnect):
            pass
        except (Exception, SystemExit):  # the latter would end the worker
            log.exception("a WebSocket handler failed on %s", self.scope["path"])
            self._give_up(FAILED, "internal error")
        else:
            self._give_up(NORMAL, "")
        finally:
            if self.close_timer is None:
                self.transport.close()

    async def send(self, message: Any) -> None:
        if not self.writable.is_set():
            await self.until_writable()
        if self._gone(message):
            raise ClientDisconnected
        if "headers" in message:
            message = {**message, "headers": _sendable(message["headers"])}
        await super().send(message)
        kind = message["type"]
        if kind == "websocket.send":
            self._last = self.loop.time()
            size = _size(message)
            self.connection.counts.sent(size)
            self._note_sent(size + (2 if size < 126 else 4 if size < 65_536 else 10))
        elif kind == "websocket.accept":
            self._accepted()
        elif kind == "websocket.close" and self.handshake_complete and self.close_timer:
            self.code = self.code or message.get("code", NORMAL)
            self._closing()
        elif kind in ("websocket.close", "websocket.http.response.start"):
            self._registry.counts.refused("application")

    # The rest.

    def _gone(self, message: Mapping[str, Any]) -> bool:
        """Return whether a message has no receiver: its handler may still run after we closed."""
        return self.handshake_complete and self.initial_response is None and not self.open

    def _parse(self) -> None:
        """Parse what has arrived, until a message waits for the application or other connections
        have waited long enough."""
        data, self._pending = self._pending, b""
        at = self._fragments = 0
        while at < len(data) and not self.read_paused and self._fragments < _MOST_FRAGMENTS:
            super().data_received(data[at : at + _PIECE])
            at += _PIECE
            if self._light_frames > _MOST_LIGHT_FRAMES:
                self._turn_away(BAD_CONDUCT, "too many frames")
            if self._deaf:
                return
        self._pending = data[at:]
        if self._pending and not self.read_paused:
            self._pause()
            self._go_on_soon()

    def _pause(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def _go_on_soon(self) -> None:
        if self._next_turn is None:
            self._next_turn = self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next_turn = None
        self.read_paused = False
        self._parse()
        if not self.read_paused:
            self.transport.resume_reading()

    def _count_light_frame(self) -> None:
        """Count a frame without content: no other limit bounds these."""
        now = self.loop.time()
        if now - self._light_since > 1.0:
            self._light_frames, self._light_since = 0, now
        self._light_frames += 1

    def _count_fragment(self, event: Frame) -> None:
        if not event.fin or event.opcode is Opcode.CONT:
            self._fragments += 1
            if not event.data:
                self._count_light_frame()

    def _turn_away(self, code: int, reason: str) -> None:
        """Close, and ignore everything that still arrives."""
        self.hang_up(code, reason)
        self._deaf = True

    def _end_handshake(self) -> None:
        """Parse what the client sent before it had its answer."""
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None
        if self._pending:
            self._go_on_soon()

    def _despair(self) -> None:
        """End a handshake that the application has not answered, or whose answer the client has not
        read."""
        if self.handshake_complete or self.initial_response is not None:
            self.transport.abort()
            return
        log.error("a WebSocket handler on %s did not answer in time", self.scope["path"])
        self._registry.counts.refused("application")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL})
        self.conn.send_response(self.conn.reject(503, "Service Unavailable"))
        self._write()
        self.handshake_complete = self.close_sent = True
        self.transport.close()
        self._handshake_timer = self.loop.call_later(_CLOSING, self.transport.abort)

    def _accepted(self) -> None:
        if not self.open:
            return
        self._end_handshake()
        self._registry.add(self.connection, route_of(self.scope))
        if self._doom is not None:
            self.hang_up(*self._doom)
        elif self._idle:
            self._idle_timer = self.loop.call_later(self._idle, self._look)

    def _look(self) -> None:
        """Close the connection if it was idle too long, else look again when that may be so."""
        left = self._last + self._idle - self.loop.time()
        if left <= 0:
            self.hang_up(NORMAL, "idle")
        else:
            self._idle_timer = self.loop.call_later(left, self._look)

    def _give_up(self, code: int, reason: str) -> None:
        """Close a connection that the application left open when it ended."""
        if self.handshake_complete:
            self.hang_up(code, reason)
            return
        if self.initial_response is not None:
            return
        if code == NORMAL:
            log.error("a WebSocket handler on %s ended without an answer", self.scope["path"])
        self.send_500_response()

    def _note_sent(self, size: int) -> None:
        if unsent := self.transport.get_write_buffer_size():
            self.sending.add(size, unsent)
            self._registry.note_slow(self.connection)

    def _write(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _closing(self) -> None:
        """Wait for the other side to close, up to a limit."""
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self._pending:
            self._go_on_soon()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(_CLOSING, self.transport.abort)


def _sendable(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer. Raises ValueError if they cannot be sent."""
    headers = list(headers)
    for name, value in headers:
        if CONTROL.search(name) or CONTROL.search(value):
            raise ValueError(f"The header {name!r} has a line break or another control character.")
    return headers


def _size(message: Mapping[str, Any]) -> int:
    """Return how many bytes this event of the application has as a message."""
    data = message.get("bytes")
    if data is None:
        text: str = message.get("text") or ""
        return len(text) if text.isascii() else len(text.encode())
    return len(data)


def _is_text(frames: list[bytes]) -> bool:
    try:
        b"".join(frames).decode()
    except UnicodeDecodeError:
        return False
    return True
