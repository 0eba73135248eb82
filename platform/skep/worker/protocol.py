"""uvicorn's HTTP protocol with limits: what a client sends is bounded, what it owes has a deadline.

No connection has a timer of its own. Each one notes since when it has been waiting, and `Guard`
looks at all of them twice a second: that costs less than to set and cancel a timer per request, and
closes idle connections too. Attributes of uvicorn's class are touched here (`cycle`, `pipeline`,
`parser`, `on_response_complete`): `tests/process/test_limits.py` holds them against new versions.
"""

import asyncio
import http
from collections.abc import Callable
from typing import Any, Protocol

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from skep.worker.joined import Joined
from skep.worker.limits import LEAVE_BYTES, Limits, Phase

_LOOK = 0.5
# So many connections beyond the limit are told to come again; more are cut without a word.
_ANSWERED_CROWD = 50
_RETRY_AFTER = b"retry-after: 1\r\n"
# Of the connection and not of the request (RFC 9110, 7.6.1); `proxy` would become HTTP_PROXY in the
# environment of a CGI program. `connection`, `upgrade` and `transfer-encoding` are read by uvicorn.
HOP_BY_HOP = frozenset((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"proxy"))
FORWARDED = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    )
)
_SPECIAL = HOP_BY_HOP | {b"expect"}
_SPECIAL_OF_STRANGERS = _SPECIAL | FORWARDED


class Refusal(Exception):
    """This request is answered with a status here and never reaches the application."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Proxies(Protocol):
    """Which peers are proxies whose word about the client counts."""

    def __contains__(self, host: str | None, /) -> bool:
        """Whether the peer with this address is one; None for a peer on a unix socket."""


class Guard:
    """Watches over the connections of one worker.

    `refused(reason)` is called for each client that had to go.
    """

    def __init__(self, limits: Limits, proxies: Proxies, refused: Callable[[str], None]) -> None:
        self.limits = limits
        self.proxies = proxies
        self.refused = refused

    async def watch(self, connections: set[Any]) -> None:
        """Look at the connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            now = loop.time()
            for connection in list(connections):
                if isinstance(connection, HttpProtocol):
                    connection.look(now)


class HttpProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        guard: Guard,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._guard = guard
        self._limits = guard.limits
        self._special = _SPECIAL
        self._phase = Phase.SILENT
        self._since = self.loop.time()
        self._head = 0  # parsed bytes of the head at hand
        self._raw = 0  # bytes that came in chunks which ended within this head, or when leaving
        self._began = False  # the head began in the chunk at hand
        self._is_large = False  # the chunk at hand may hold a head that is too large
        self._spilled = 0  # bytes of a body nobody wants any more
        self._unsent = 0
        self._unsent_since = 0.0
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        client = self.client[0] if self.client else None
        if client not in self._guard.proxies:
            self._special = _SPECIAL_OF_STRANGERS
        crowd = len(self.connections) - self._limits.connections
        if crowd > _ANSWERED_CROWD:
            self._guard.refused("connections")
            self.transport.abort()
        elif crowd > 0:
            self._refusal = Refusal(503, "connections")

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn would keep this timer, and with it the whole request, after a reset.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is Phase.LEAVING:
            self._leave(len(data))
            return
        starts = phase is Phase.IDLE or phase is Phase.SILENT
        if starts:
            self._phase = Phase.HEAD
            self._since = self.loop.time()
        # What came in one small chunk need not be counted header by header.
        self._is_large = self._raw > 0 or len(data) > self._limits.head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or Refusal(400, "malformed"))
            return
        if self._phase is Phase.HEAD:
            self._hold_head(len(data), starts)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = self._raw = 0
        self._began = True
        if self._phase is not Phase.HEAD:  # pipelined: it came in one chunk with what was before
            self._phase = Phase.HEAD
            self._since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head += len(url)
        if self._head > self._limits.head:
            self._turn_down(431, "headers")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._is_large:
            self._head += len(name) + len(value) + 4
            if self._head > self._limits.head or len(self.headers) >= self._limits.headers:
                self._turn_down(431, "headers")
        if name not in self._special:
            self.headers.append((name, value))
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if len(self.headers) > self._limits.headers:
            self._turn_down(431, "headers")
        self._phase = Phase.BODY
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # it is the same when a WebSocket is asked for
            self.cycle.transport = Joined(self.transport, self.loop)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._since = self.loop.time()
        if self.cycle.response_complete:
            self._spill(len(body))
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        answered = self.cycle is None or self.cycle.response_complete
        self._phase = Phase.IDLE if answered else Phase.ANSWER
        self._since = self.loop.time()

    def on_response_complete(self) -> None:
        # In the place of uvicorn's, which sets a timer for the next request.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._phase is Phase.ANSWER:
            self._phase = Phase.IDLE
            self._since = self.loop.time()

    def look(self, now: float) -> None:
        """End the connection if the client has not done in time what it has to do next."""
        phase = self._phase
        if phase is Phase.BODY and self.cycle.response_complete:
            phase = Phase.IDLE  # for what is left of the body nobody waits any more
        elif phase is Phase.BODY and self.flow.read_paused:
            self._since = now  # it is the application that does not take what there is
        if self._stuck(now):
            self._guard.refused("slow_reader")
            self.transport.abort()
        elif self._limits.overdue(phase, now - self._since):
            self._end_wait()

    def _end_wait(self) -> None:
        match self._phase:
            case Phase.HEAD:
                self._refuse(Refusal(408, "header_timeout"))
            case Phase.BODY if not self.cycle.response_complete:
                self._refuse(Refusal(408, "stalled"))
            case Phase.LEAVING:
                self.transport.abort()
            case Phase.SILENT:
                self._guard.refused("header_timeout")
                self.transport.close()
            case _:
                self.transport.close()

    def _stuck(self, now: float) -> bool:
        """Say whether the client has taken nothing of its answer for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return now - self._unsent_since > self._limits.progress_time

    def _hold_head(self, received: int, starts: bool) -> None:
        """Bound what came of a head that has no end yet. Of a chunk in which something else ended
        before it, nobody knows the part that is its own, so it is not counted."""
        if starts or not self._began:
            self._raw += received
        self._began = False
        if self._raw > self._limits.head:
            self._refuse(Refusal(431, "headers"))

    def _spill(self, size: int) -> None:
        """Throw away the body of a request that is answered; there is an end to that too."""
        self._spilled += size
        if self._spilled > self._limits.body:
            self._guard.refused("body")
            self.transport.close()

    def _turn_down(self, status: int, reason: str) -> None:
        """Stop the parser; `data_received` then refuses."""
        self._refusal = Refusal(status, reason)
        raise self._refusal

    def _refuse(self, refusal: Refusal) -> None:
        self._guard.refused(refusal.reason)
        self._refusal = refusal
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._phase is not Phase.BODY:
                # Pipelined behind good requests: these are answered, then it is over.
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                cycle.transport.close()  # within an answer there is no place for another
                return
        self.transport.write(_answer(refusal.status))
        self._part()

    def _part(self) -> None:
        """Send nothing more, and wait a moment for the client to have read what was sent."""
        self._phase, self._since, self._raw = Phase.LEAVING, self.loop.time(), 0
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _leave(self, received: int) -> None:
        self._raw += received
        if self._raw > LEAVE_BYTES:
            self.transport.abort()


def _answer(status: int) -> bytes:
    phrase = http.HTTPStatus(status).phrase.encode()
    body = phrase + b"\n"
    return b"".join(
        (
            b"HTTP/1.1 %d %s\r\n" % (status, phrase),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(body),
            _RETRY_AFTER if status == 503 else b"",
            b"connection: close\r\n\r\n",
            body,
        )
    )
