"""What uvicorn's HTTP protocols lack: what a client sends is bounded, what it owes has a deadline.

No connection has a timer of its own. Each one notes since when it has been waiting, and `Guard`
looks at all of them twice a second: that costs less than to set and cancel a timer per request, and
closes idle connections too. The parser is `httptools_protocol.py`'s affair, or `h11_protocol.py`'s.
They and this touch attributes of uvicorn's classes: `tests/process/test_limits.py` holds both
against new versions.
"""

import asyncio
import http
from collections.abc import Callable
from typing import Any

from skep.worker.closing import Closing
from skep.worker.forwarded import Proxies
from skep.worker.limits import BODY, IDLE, LEAVE_BYTES, LEAVING, SILENT, Limits, Phase

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


class Guard:
    """Watches over the connections of one worker.

    `refused(reason)` is called for each client that had to go.
    """

    def __init__(self, limits: Limits, proxies: Proxies, refused: Callable[[str], None]) -> None:
        self.limits = limits
        self.proxies = proxies
        self.refused = refused
        self._closing = Closing()

    async def watch(self, connections: set[Any]) -> None:
        """Look at the connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            now = loop.time()
            for connection in list(connections):
                if connection.transport.is_closing():
                    if self._closing.look(connection, now, self.limits.progress_time):
                        self.refused("slow_reader")
                elif isinstance(connection, HttpProtocol):
                    connection.look(now)


class HttpProtocol(asyncio.Protocol):
    """One connection of a client; goes before one of uvicorn's protocols, whose attributes these
    are."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    connections: set[Any]
    client: tuple[str, int] | None
    flow: Any
    cycle: Any
    server_state: Any

    def __init__(self, *arguments: Any, guard: Guard) -> None:
        super().__init__(*arguments)
        self._guard = guard
        self._limits = guard.limits
        self._special = _SPECIAL
        self._phase = SILENT
        self._since = self.loop.time()
        self._spilled = 0  # bytes of the body at hand, which nobody wants any more
        self._allowed = LEAVE_BYTES  # bytes that may still come when all is said
        self._unsent = 0
        self._unsent_since = 0.0
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._guard.proxies.trusts(transport):
            self._special = _SPECIAL_OF_STRANGERS
        crowd = len(self.connections) - self._limits.connections
        if crowd > _ANSWERED_CROWD:
            self._guard.refused("connections")
            self.transport.abort()
        elif crowd > 0:
            self._refusal = Refusal(503, "connections")

    def answered(self) -> bool:
        """The answer is out: count it, go on reading, and say whether the connection lives. In the
        place of uvicorn's `on_response_complete`, which sets a timer for the next request."""
        self.server_state.total_requests += 1
        self._spilled = 0
        if self._phase is LEAVING or self.transport.is_closing():
            return False
        self.flow.resume_reading()
        return True

    def hang_up(self) -> None:
        """The last answer is out. Whoever is still sending would be reset by a close, perhaps
        before it has read the answer: so listen for a moment."""
        if self._phase is BODY:
            self._allowed += self._limits.body
            self._part()
        else:
            self.transport.close()

    def look(self, now: float) -> None:
        """End the connection if the client has not done in time what it has to do next."""
        phase = self._phase
        if phase is BODY and self.cycle.response_complete:
            phase = IDLE  # for what is left of the body nobody waits any more
        elif phase is BODY and self.flow.read_paused:
            self._since = now  # it is the application that does not take what there is
        elif phase is LEAVING and self.transport.get_write_buffer_size():
            self._since = now  # it has something to read yet; how long it may take is `_stuck`'s
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

    def _spill(self, size: int) -> None:
        """Throw away the body of a request that is answered; there is an end to that too."""
        self._spilled += size
        if self._spilled > self._limits.body + LEAVE_BYTES:
            self._guard.refused("body")
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        self._guard.refused(refusal.reason)
        self._refusal = refusal
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._phase is not BODY:
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

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since = phase, self.loop.time()

    def _part(self) -> None:
        """Send nothing more, and wait a moment for the client to have read what was sent. TLS has
        no half of a connection to close, but the answer tells the client that it is over."""
        self._enter(LEAVING)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _leave(self, received: int) -> None:
        """Throw away what still comes. A body that may be sent may take its time."""
        self._allowed -= received
        if self._allowed < 0:
            self.transport.abort()
        elif self._allowed > LEAVE_BYTES:
            self._since = self.loop.time()


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
