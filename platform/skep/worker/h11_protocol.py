"""HTTP with h11: the parser is asked for the next event, and a head is looked at when it is whole.

What grows beyond the largest head before that, h11 refuses itself. It is slower than httptools, and
stricter: it takes no request of HTTP/1.1 without Host.
"""

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol as UvicornProtocol

from skep.worker.joined import Joined
from skep.worker.limits import ANSWER, BODY, HEAD, IDLE, LEAVING, SILENT
from skep.worker.protocol import Guard, HttpProtocol, Refusal

_VERSIONS = (b"1.0", b"1.1")
# With both of them two readers may see the end of a request in two places.
_FRAMINGS = {b"content-length", b"transfer-encoding"}


class _Parser(h11.Connection):
    """Shows each event to the protocol before uvicorn sees it."""

    def __init__(self, protocol: "H11Protocol", largest_head: int) -> None:
        super().__init__(h11.SERVER, largest_head)
        self._protocol = protocol

    def next_event(self) -> Any:
        """Raises Refusal where h11 has an error of its own."""
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            large = error.error_status_hint == 431
            raise (Refusal(431, "headers") if large else Refusal(400, "malformed")) from error
        match event:
            case h11.Request():
                self._protocol.on_head(event)
            case h11.Data():
                self._protocol.on_body(len(event.data))
            case h11.EndOfMessage():
                self._protocol.on_end()
        return event


class H11Protocol(HttpProtocol, UvicornProtocol):
    """One connection of a client."""

    def __init__(self, *arguments: Any, guard: Guard) -> None:
        super().__init__(*arguments, guard=guard)
        self.conn = _Parser(self, self._limits.head)
        self._blank = False  # of the head at hand there are only empty lines yet (RFC 9112, 2.2)

    def data_received(self, data: bytes) -> None:
        if self._phase is LEAVING:
            self._leave(len(data))
            return
        if self._phase is IDLE or self._phase is SILENT:
            self._enter(HEAD)
            self._blank = True
        if self._blank:
            data = data.lstrip(b"\r\n")
            self._blank = not data
        if data:
            self.conn.receive_data(data)
            self._proceed()

    def on_head(self, request: h11.Request) -> None:
        """A head is whole. Raises Refusal."""
        headers = request.headers
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in headers)
        if self._refusal is not None:
            raise self._refusal
        if request.http_version not in _VERSIONS or {name for name, _ in headers} >= _FRAMINGS:
            raise Refusal(400, "malformed")
        if size > self._limits.head or len(headers) > self._limits.headers:
            raise Refusal(431, "headers")
        self._phase = BODY

    def on_body(self, size: int) -> None:
        """So much of a body has come."""
        self._since = self.loop.time()
        if self.cycle.response_complete:
            self._spill(size)

    def on_end(self) -> None:
        """A request is whole."""
        self._enter(IDLE if self.cycle.response_complete else ANSWER)

    def on_response_complete(self) -> None:
        if not self.answered():
            return
        if self._phase is ANSWER:
            self._enter(IDLE)
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.DONE:
            self.conn.start_next_cycle()
            self._proceed()

    def _proceed(self) -> None:
        """Take what has come as far as it goes."""
        before = self.cycle
        try:
            self.handle_events()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self.cycle is not before:
            self.cycle.transport = Joined(self.transport, self.loop, self.hang_up, self.cycle.scope)
        if self._phase is IDLE and self.conn.trailing_data[0]:
            self._enter(HEAD)  # pipelined: it came in one chunk with what was before

    def _should_upgrade(self) -> bool:
        # All headers are there now, and nobody has seen them yet.
        self.headers[:] = [
            (name, value)
            for name, value in self.headers
            if name == b"expect" or name not in self._special
        ]
        return self._get_upgrade() == b"websocket" and self._should_upgrade_to_ws()
