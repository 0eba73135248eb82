"""HTTP with httptools, which calls back for each part, so a head is counted as it arrives."""

import asyncio
from contextvars import Context
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from skep.worker.http.coalesced_writes import CoalescedWrites
from skep.worker.http.limits import ANSWER, BODY, HEAD, IDLE, Guard
from skep.worker.http.protocol import CONNECTION, HttpProtocol
from skep.worker.http.request_head import (
    HttpRefusal,
    check_codings,
    checked_target,
    is_host,
    unknown_method,
    wants_websocket,
)

_LINE_END = b" HTTP/1.1\r\n"
_CODING, _LENGTH, _SLASH = b"transfer-encoding", b"content-length", ord("/")
_READ_HERE = frozenset((b"content-length", b"expect", b"host", b"transfer-encoding"))


class HttptoolsProtocol(HttpProtocol, HttpToolsProtocol):
    def __init__(self, *arguments: Any, guard: Guard) -> None:
        super().__init__(*arguments, guard=guard)
        _configure(self.parser)
        self._special = _READ_HERE
        self._head = 0  # counted bytes of the head at hand, and of its trailers
        self._trailers = 0
        self._hosts = 0
        self._codings = b""
        self._upgrades = False  # the request at hand opens a WebSocket
        self._declined = False  # the head at hand offers a protocol that we do not speak
        self._is_counted = False  # the piece at hand may hold too many fields, or trailers
        self._is_1_1 = False  # the piece at hand begins with a request line of HTTP/1.1
        self._grew = False  # the piece at hand held bytes of a body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._special = _READ_HERE | self._dropped

    def _feed(self, piece: bytes) -> None:
        # What came in one small piece need not be counted header by header.
        begun = self._raw > 0
        self._is_counted = begun or len(piece) > self._largest_head or self._phase is BODY
        # The parser's own answer to this costs more than a whole header.
        self._is_1_1 = not begun and piece.startswith(_LINE_END, piece.find(b"\r") - 9)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._go_on(piece)
        except httptools.HttpParserError as error:
            self._malformed(error, piece)
        phase = self._phase
        if phase is HEAD or (phase is BODY and not self._left):
            self._bound(len(piece))

    def _bound(self, received: int) -> None:
        """Limit the bytes of an unfinished head, of trailers or of the size of a chunk."""
        self._raw = 0 if self._grew else self._raw + received
        self._grew = False
        if self._raw > self._largest_head:
            self._refuse(HttpRefusal(431, "headers"))

    def _go_on(self, piece: bytes) -> None:
        """Continue after a head that offers another protocol, where the parser has stopped. If it
        is not one of ours, parse the same request again without the offer."""
        try:
            if self._upgrades:
                self._open_websocket(self.parser.get_method(), self.url, self.headers)
            else:
                self._begin_again()
        except HttpRefusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            self._malformed(error, piece)

    def _malformed(self, error: httptools.HttpParserError, piece: bytes) -> None:
        if self._refusal is not None:
            refusal = self._refusal
        elif isinstance(error, httptools.HttpParserInvalidMethodError):
            refusal = unknown_method(piece)
        elif self.parser.get_method() == b"PRI":
            refusal = HttpRefusal(505)  # the preface of HTTP/2 (RFC 9113, 3.4)
        else:
            refusal = HttpRefusal(400)
        self._refuse(refusal)

    def _begin_again(self) -> None:
        parts = [
            b"%b %b HTTP/%b\r\n"
            % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        parts += [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        _configure(self.parser)
        self._declined = False
        self.parser.feed_data(b"".join([*parts, b"\r\n"]))

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._head = self._hosts = 0
        if self._codings:  # else the others have not changed
            self._codings, self._trailers, self._grew = b"", 0, False

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head += len(url)
        if self._head > self._largest_head:
            self._turn_down(HttpRefusal(431, "headers"))

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip()
        if self._is_counted:
            if self._phase is BODY:
                self._drop_trailer(len(name) + len(value))
                return
            self._head += len(name) + len(value) + 4
            if self._head > self._largest_head or len(self.headers) >= self._most_headers:
                self._turn_down(HttpRefusal(431, "headers"))
        if name not in self._special:
            self.headers.append((name, value))
        elif name == b"host" and is_host(value):
            self._hosts += 1
            self.headers.append((name, value))
        elif self._reads(name, value):
            self.headers.append((name, value))

    def _reads(self, name: bytes, value: bytes) -> bool:
        """Note what the worker needs; return whether the application gets it too."""
        if name == b"host":
            self._turn_down(HttpRefusal(400))
        elif name == b"content-length":
            self._left = int(value)
        elif name == b"transfer-encoding":
            self._codings += b"," + value if self._codings else value
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        else:
            return False
        return True

    def _drop_trailer(self, size: int) -> None:
        """Drop a field behind a chunked body, but count it as a header: as one it would evade every
        check of the headers (RFC 9110, 6.5.1)."""
        self._head += size + 4
        self._trailers += 1
        self._guard.dropped(1)
        if (
            self._head > self._largest_head
            or len(self.headers) + self._trailers > self._most_headers
        ):
            self._turn_down(HttpRefusal(431, "headers"))

    def on_headers_complete(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        if len(self.headers) > self._most_headers:
            self._turn_down(HttpRefusal(431, "headers"))
        parser, url = self.parser, self.url
        is_usual = (
            self._is_1_1
            and self._hosts == 1
            and not self._codings
            and url[0] == _SLASH
            and b"#" not in url
            and not parser.should_upgrade()
        )
        version = "1.1"
        if not is_usual:
            try:
                version = self._look_closer(parser.get_http_version())
            except HttpRefusal as refusal:
                self._turn_down(refusal)
            if self._upgrades or self._declined:
                return
        self._phase = BODY
        if self._codings:
            self._is_counted = True
        self._begin(version, parser.get_method().decode("ascii"))

    def _begin(self, version: str, method: str) -> None:
        """Give the request to the application. Replaces uvicorn's `on_headers_complete`, which asks
        the parser the same questions again."""
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        root = self.root_path
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": root,
            "path": root + path if root else path,
            "raw_path": root.encode() + raw_path if root else raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
            CONNECTION: self,
        }
        self.received = 0
        is_1_0 = version == "1.0"
        kind = _UntilTheEnd if is_1_0 else RequestResponseCycle
        self.cycle = cycle = kind(
            scope=scope,  # type: ignore[arg-type]
            transport=CoalescedWrites(self.transport, self.loop, self.hang_up, scope),  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=not is_1_0 and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        # What a request sets is not in the context of the next one.
        task = self.loop.create_task(cycle.run_asgi(self.app), context=Context())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _look_closer(self, version: str) -> str:
        """Check an unusual head; return the version to treat it as. Raises HttpRefusal."""
        version, self.url, self.headers = checked_target(
            version, self.parser.get_method(), self.url, self.headers, self._hosts
        )
        if self._codings:
            check_codings(version, self._codings)
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1
        if self.parser.should_upgrade():
            self._upgrades = wants_websocket(version, self.headers)
            self._declined = not self._upgrades
        return version

    def on_body(self, body: bytes) -> None:
        self._since = self.loop.time()
        if self._left:
            self._left -= len(body)
        else:
            self._grew = True
        if self.cycle.response_complete:
            self._spill(len(body))
        else:
            self.received += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._declined or self._upgrades:
            return
        cycle = self.cycle
        if cycle.response_complete:
            self._enter(IDLE)
        else:
            self._phase = ANSWER
            cycle.more_body = False
            cycle.message_event.set()

    def _turn_down(self, refusal: HttpRefusal) -> None:
        """Stop the parser; `_malformed` then refuses."""
        self._refusal = refusal
        raise refusal


class _UntilTheEnd(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: one without a length lasts until the connection
    is closed (RFC 9112, 6.1)."""

    endless = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            headers = [h for h in message.get("headers", ()) if h[0].lower() != _CODING]
            self.endless = not any(name.lower() == _LENGTH for name, _ in headers)
            if self.endless:
                self.chunked_encoding = False
            message = {**message, "headers": headers}
        elif self.endless and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _configure(parser: httptools.HttpRequestParser) -> None:
    parser.set_dangerous_leniencies(
        lenient_data_after_close=True,  # as uvicorn does
        lenient_version=True,  # it is checked here
        lenient_spaces_after_chunk_size=True,  # RFC 9112, 7.1.1
    )
