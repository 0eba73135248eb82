"""What uvicorn's HTTP protocols lack: limits on what a client sends, and deadlines for it.

No connection has a timer of its own. Each notes since when it has been waiting, and `Guard` looks
at all of them twice a second: that costs less than to set and cancel a timer per request, and
closes idle connections too. Parsing is left to `httptools_protocol.py` and `h11_protocol.py`. All
three touch attributes of uvicorn's classes: `tests/process/test_limits.py` holds them against new
versions.
"""

import asyncio
import http
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from skep.base.system.linux import age_of_connection
from skep.worker.http.limits import (
    ANSWER,
    BODY,
    HEAD,
    IDLE,
    LEAVE_BYTES,
    LEAVING,
    SILENT,
    ConnectionPhase,
    Guard,
)
from skep.worker.http.request_head import END, Headers, HttpRefusal

# Where the edge finds the connection of a request; it is taken out before the application runs.
CONNECTION = "skep.connection"
# Who ended a request before its whole answer. UNSURE is a client that closed its half: whether it
# still reads is known when the answer was sent.
CLIENT, TIMEOUT, UNSURE = "client", "timeout", "half-closed"
# The status that is counted when the client went away before the head of its answer.
CLIENT_GONE = 499
# This many connections above the limit are answered with 503; more are aborted.
_ANSWERED_CROWD = 50
_BLANK = re.compile(rb"[\r\n]*")  # before a request (RFC 9112, 2.2)
# What the kernel says of a TCP connection that the other side has reset (tcp_states.h).
_TCP_CLOSE = 7
# Of the connection and not of the request (RFC 9110, 7.6.1); `proxy` would become HTTP_PROXY in the
# environment of a CGI program. `connection`, `upgrade` and `transfer-encoding` are read by uvicorn.
_HOP_BY_HOP = frozenset((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"proxy"))
_FORWARDED = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-proto x-forwarded-server x-real-ip".split()
)
_OF_STRANGERS = _HOP_BY_HOP | _FORWARDED


class Flow(FlowControl):
    """Does not read while a request waits for the answer to the one before it, even if the
    application calls `receive()`."""

    holding = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.holding:
            super().resume_reading()


class HttpProtocol(asyncio.Protocol):
    """One connection of a client; a mixin before one of uvicorn's protocols, whose attributes these
    are.

    The parser gets one message at a time. The next request waits in `_rest` until the one before it
    is answered, so a client that pipelines costs no more than one that does not.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    connections: set[Any]
    client: tuple[str, int] | None
    flow: Any
    cycle: Any
    config: Any
    app_state: Any
    scheme: Any
    server_state: Any
    ws_protocol_class: Any

    def __init__(self, *arguments: Any, guard: Guard) -> None:
        super().__init__(*arguments)
        self._guard = guard
        self._options = guard.options
        self._largest_head = guard.options.max_header_size
        self._most_headers = guard.options.max_headers
        self._dropped = _HOP_BY_HOP
        self._phase = SILENT
        self._since = self.loop.time()
        self._spilled = 0  # bytes of the current body that are not wanted any more
        self._allowed = LEAVE_BYTES  # bytes that may still arrive after the last answer
        self._unsent = 0
        self._unsent_since = 0.0
        self._refusal: HttpRefusal | None = None
        self._raw = 0  # bytes of the head at hand, or those since the last ones of a chunked body
        self._left = 0  # bytes of the body at hand that are still to come, if its length is known
        self._seam = b""  # the last bytes given to the parser, if a message goes on after them
        self._rest = b""  # what came behind the request that is being answered,
        self._rest_at = 0  # from this byte on
        self._websocket: Any = None
        self.half_closed = False
        # Of the request at hand: the bytes of its body that came, who ended it, with which status
        self.received = 0
        self.cut_by = ""
        self.cut_status = 0
        # What to tell, once the connection is lost, who ended a request that was UNSURE.
        self.verdict: Callable[[str], None] | None = None
        self.handshake: Any = None  # what counts the failure of one with TLS
        self._was_reset = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.flow = Flow(self.transport)
        if not self._guard.proxies.trusts(transport):
            self._dropped = _OF_STRANGERS
        if self.handshake is not None:
            self.handshake.detach()
        elif (age := age_of_connection(transport.get_extra_info("socket"))) is not None:
            self._guard.counts.queued(age)
        crowd = len(self.connections) - self._guard.most_connections
        if crowd > 0:
            self._guard.counts.rejected()
            self._refusal = HttpRefusal(503, "connections")
        else:
            self._guard.counts.accepted()
        if crowd > _ANSWERED_CROWD:
            self._guard.refused("connections")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_by(CLIENT, CLIENT_GONE)
        verdict, self.verdict = self.verdict, None
        super().connection_lost(exc)
        if verdict is not None:
            verdict(CLIENT if exc is not None or self._was_reset else "")

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is ANSWER or phase is LEAVING:
            self._put_off(data, 0)
            return
        if phase is IDLE or phase is SILENT:
            self._phase, self._raw = HEAD, 0
            if data.find(END) == len(data) - 4 and data[0] > 13:
                self._feed(data)  # one head, as most often
                if self._phase is not ANSWER:  # while the application works, no time runs
                    self._since = self.loop.time()
                return
            self._since = self.loop.time()
        self._proceed(data, 0)

    def eof_received(self) -> Any:  # a bool; uvicorn's says None
        """Return whether to keep the connection open, because the client may wait for its answer;
        it has gone if it closes its half during an answer, or with TLS."""
        if self._phase is not ANSWER or self.scheme == "https" or self.cycle.response_started:
            return False
        self.cycle.keep_alive = False
        self.half_closed = True
        self.cut_by = UNSURE
        self._since = self.loop.time()
        return True

    def _feed(self, piece: bytes) -> None:
        """Give the parser a piece of one message."""
        raise NotImplementedError

    def _proceed(self, data: bytes, at: int) -> None:
        """Parse messages from `at` on, up to the first that is not yet answered."""
        end = len(data)
        while at < end:
            if self._phase is ANSWER or self._phase is LEAVING:
                self._put_off(data, at)
                return
            if self._phase is IDLE:
                self._enter(HEAD)
                self._raw = 0
            if self._phase is HEAD and self._raw == 0:
                self._seam = b""
                at += len(_BLANK.match(data, at)[0])  # type: ignore[index]
                if at == end:
                    return
            until = self._cut(data, at)
            piece = data[at:until]
            self._feed(piece)
            self._seam = piece[-3:] if len(piece) > 2 else (self._seam + piece)[-3:]
            at = until
            if self._websocket is not None:
                self._websocket.data_received(data[at:])
                return

    def _cut(self, data: bytes, at: int) -> int:
        """Return where to cut `data`: at the end of the message that continues at `at`, or earlier
        if that end cannot be seen without parsing."""
        if self._phase is BODY and self._left:
            return min(at + self._left, len(data))
        seam = self._seam
        found = (seam + data[at : at + 3]).find(END) if seam else -1
        if found >= 0:
            return at + found + len(END) - len(seam)
        last = min(at + self._largest_head, len(data)) if self._phase is BODY else len(data)
        found = data.find(END, at, last)
        return found + len(END) if found >= 0 else last

    def _put_off(self, data: bytes, at: int) -> None:
        if self._phase is LEAVING:
            self._leave(len(data) - at)
        else:
            if self._rest:
                data, at = self._rest[self._rest_at :] + data[at:], 0
            self._rest, self._rest_at = data, at
            self.flow.holding = True
            self.flow.pause_reading()

    def _next(self) -> None:
        data, self._rest = self._rest, b""
        self._proceed(data, self._rest_at)
        if not self._rest:
            self._read_on()

    def _read_on(self) -> None:
        self.flow.holding = False
        self.flow.resume_reading()

    def _open_websocket(self, method: bytes, target: bytes, headers: Headers) -> None:
        """Hand this connection to the WebSocket protocol. Raises HttpRefusal."""
        protocol = self.ws_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.check(method, headers)
        self._read_on()
        self.connections.discard(self)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.open_with(target.decode("ascii"), headers, self._options.progress_timeout)
        self._websocket = protocol

    def on_response_complete(self) -> None:
        """Count the answer and read on. Replaces uvicorn's method, which sets a timer for the next
        request."""
        self.server_state.total_requests += 1
        self._spilled = 0
        if self._phase is LEAVING or self.transport.is_closing():
            return
        if self._phase is ANSWER:
            self._phase, self._since = IDLE, self.loop.time()
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self._rest:
            self._next()

    def hang_up(self) -> None:
        """End after the last answer. A close would reset a client that is still sending, perhaps
        before it has read the answer, so read on for a moment."""
        if self._phase is BODY:
            self._allowed += self._options.max_body_size
            self._part()
        elif self._rest or (self.half_closed and _tcp(self.transport) is not None):
            self._part()
        else:
            self.transport.close()

    def look(self, now: float) -> None:
        """End the connection if the client is overdue with what it has to do next."""
        phase = self._phase
        if phase is BODY and self.cycle.response_complete:
            phase = IDLE  # the rest of the body is not wanted any more
        elif phase is BODY and self.flow.read_paused:
            self._since = now  # it is the application that does not take what there is
        elif phase is LEAVING and self.transport.get_write_buffer_size():
            self._since = now  # it has something to read yet; how long it may take is `_stuck`'s
        if self._stuck(now):
            self._guard.refused("slow_reader")
            self.time_out()
            self.transport.abort()
        elif self.half_closed and self._is_gone(now):
            self.transport.abort()
        elif self._guard.overdue(phase, now - self._since):
            self._end_wait()

    def _end_wait(self) -> None:
        phase = self._phase
        if phase is HEAD:
            self._refuse(HttpRefusal(408, "header_timeout"))
        elif phase is BODY and not self.cycle.response_complete:
            self._refuse(HttpRefusal(408, "stalled"))
        elif phase is LEAVING:
            self.transport.abort()
        else:
            if phase is SILENT:
                self._guard.refused("header_timeout")
            self.transport.close()

    def _stuck(self, now: float) -> bool:
        """Return whether the client has taken nothing of its answer for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return now - self._unsent_since > self._options.progress_timeout

    def _is_gone(self, now: float) -> bool:
        """Return whether a client that closed its half has closed the other half too: then it
        resets the connection at the first bytes of the answer."""
        if not self.cycle.response_started:
            return now - self._since > self._options.progress_timeout
        peer = _tcp(self.transport)
        if peer is None or not _is_closed(peer):
            return False
        self._was_reset = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        return True

    def time_out(self) -> None:
        """Count the request at hand as cut by us. Its answer may have been counted as complete
        already: we had it, and the client did not take it."""
        if self.cycle is None:
            return
        if self.cycle.response_complete:
            self._guard.counts.aborted(TIMEOUT)
        else:
            self._end_by(TIMEOUT, CLIENT_GONE)

    def _end_by(self, by: str, status: int) -> None:
        if self.cut_by in ("", UNSURE):
            self.cut_by, self.cut_status = by, status

    def _spill(self, size: int) -> None:
        """Throw away the body of a request that is answered, up to a limit."""
        self._spilled += size
        if self._spilled > self._options.max_body_size + LEAVE_BYTES:
            self._guard.refused("body")
            self._enter(LEAVING)
            self.transport.close()

    def _refuse(self, refusal: HttpRefusal) -> None:
        self._guard.refused(refusal.reason)
        self._refusal = refusal
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._end_by(TIMEOUT if refusal.status == 408 else CLIENT, refusal.status)
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                cycle.transport.close()  # within an answer another cannot be sent
                return
        self.transport.write(_answer(refusal, self.server_state.default_headers))
        self._part()

    def _enter(self, phase: ConnectionPhase) -> None:
        self._phase, self._since = phase, self.loop.time()

    def _part(self) -> None:
        """Send nothing more, and give the client a moment to read what was sent. TLS has no
        half-close, but the answer announces the end."""
        self._enter(LEAVING)
        self._rest = b""
        self._read_on()
        if self.transport.can_write_eof():
            with suppress(OSError):  # the client has reset the connection
                self.transport.write_eof()
        if self.half_closed and self._is_gone(self._since):
            self.transport.abort()

    def _leave(self, received: int) -> None:
        """Throw away what still arrives. A body within its limit may take its time."""
        self._allowed -= received
        if self._allowed < 0:
            self.transport.abort()
        elif self._allowed > LEAVE_BYTES:
            self._since = self.loop.time()


class NoConnection:
    """What the edge finds in a lab, which has no connections."""

    received = cut_status = 0
    cut_by = ""
    half_closed = False
    verdict: Callable[[str], None] | None = None


def _tcp(transport: asyncio.Transport) -> socket.socket | None:
    """Return the socket of a connection whose state the kernel tells, if it is one."""
    peer: socket.socket = transport.get_extra_info("socket")
    return None if peer.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO") else peer


def _is_closed(peer: socket.socket) -> bool:
    return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE


def _answer(refusal: HttpRefusal, defaults: Headers) -> bytes:
    phrase = http.HTTPStatus(refusal.status).phrase.encode()
    body = phrase + b"\n"
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\n" % (refusal.status, phrase),
            *(b"%b: %b\r\n" % header for header in defaults),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(body),
            refusal.headers,
            b"connection: close\r\n\r\n",
            body,
        )
    )
