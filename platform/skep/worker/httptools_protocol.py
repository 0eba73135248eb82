"""HTTP with httptools: the parser calls back for each part, so a head is counted as it comes."""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from skep.worker.joined import Joined
from skep.worker.limits import ANSWER, BODY, HEAD, IDLE, LEAVING, SILENT
from skep.worker.protocol import Guard, HttpProtocol, Refusal

# Called for each request: looked up once.
_on_message_begin = HttpToolsProtocol.on_message_begin
_on_headers_complete = HttpToolsProtocol.on_headers_complete
_on_message_complete = HttpToolsProtocol.on_message_complete


class HttptoolsProtocol(HttpProtocol, HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *arguments: Any, guard: Guard) -> None:
        super().__init__(*arguments, guard=guard)
        self._head = 0  # parsed bytes of the head at hand
        self._raw = 0  # bytes that came in chunks which ended within this head
        self._began = False  # the head began in the chunk at hand
        self._declined = False  # the head at hand offers a protocol that we do not speak
        self._is_large = False  # the chunk at hand may hold a head that is too large

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is LEAVING:
            self._leave(len(data))
            return
        starts = phase is IDLE or phase is SILENT
        if starts:
            self._phase, self._since = HEAD, self.loop.time()
        # What came in one small chunk need not be counted header by header.
        self._is_large = self._raw > 0 or len(data) > self._limits.head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if not self._decline(data[stop.args[0] :]):
                return
        except httptools.HttpParserError:
            self._malformed()
            return
        if self._phase is HEAD:
            self._hold_head(len(data), starts)

    def _decline(self, rest: bytes) -> bool:
        """Take up no protocol that we do not speak; say whether it is still HTTP.

        At the head of a request that offers another one the parser stops, body or not. So the same
        request is parsed without the offer, and the `rest` after it.
        """
        while self._declined:
            try:
                self._begin_again()
                self.parser.feed_data(rest)
                return True
            except httptools.HttpParserUpgrade as stop:
                rest = rest[stop.args[0] :]
            except httptools.HttpParserError:
                self._malformed()
                return False
        if self._should_upgrade():
            self.handle_websocket_upgrade()
        return False

    def _malformed(self) -> None:
        self._refuse(self._refusal or Refusal(400, "malformed"))

    def _begin_again(self) -> None:
        parts = [
            b"%b %b HTTP/%b\r\n"
            % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        parts += [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"".join([*parts, b"\r\n"]))

    def on_message_begin(self) -> None:
        _on_message_begin(self)
        self._declined = False
        self._head = self._raw = 0
        self._began = True
        if self._phase is not HEAD:  # pipelined: it came in one chunk with what was before
            self._enter(HEAD)

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
        if self.parser.should_upgrade() and self._get_upgrade() not in (None, b"websocket"):
            self._declined = True
            return
        self._phase = BODY
        before = self.cycle
        _on_headers_complete(self)
        if self.cycle is not before:  # it is the same when a WebSocket is asked for
            self.cycle.transport = Joined(self.transport, self.loop, self.hang_up, self.scope)

    def on_body(self, body: bytes) -> None:
        self._since = self.loop.time()
        if self.cycle.response_complete:
            self._spill(len(body))
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._declined:
            return
        _on_message_complete(self)
        answered = self.cycle is None or self.cycle.response_complete
        self._phase = IDLE if answered else ANSWER
        self._since = self.loop.time()

    def on_response_complete(self) -> None:
        if not self.answered():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._phase is ANSWER:
            self._phase, self._since = IDLE, self.loop.time()

    def _hold_head(self, received: int, starts: bool) -> None:
        """Bound what came of a head that has no end yet. Of a chunk in which something else ended
        before it, nobody knows the part that is its own, so it is not counted."""
        if starts or not self._began:
            self._raw += received
        self._began = False
        if self._raw > self._limits.head:
            self._refuse(Refusal(431, "headers"))

    def _turn_down(self, status: int, reason: str) -> None:
        """Stop the parser; `data_received` then refuses."""
        self._refusal = Refusal(status, reason)
        raise self._refusal
