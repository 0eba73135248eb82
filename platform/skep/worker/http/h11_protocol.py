"""HTTP with h11, which is asked for each event.

h11 is slower than httptools, and more lenient with the lines of a head. So each line is checked
here, and h11 gets only a head that is valid.
"""

import re
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol as UvicornProtocol

from skep.worker.http.coalesced_writes import CoalescedWrites
from skep.worker.http.limits import ANSWER, BODY, HEAD, IDLE, Guard
from skep.worker.http.protocol import CONNECTION, HttpProtocol
from skep.worker.http.request_head import (
    METHODS,
    TOKEN,
    HttpRefusal,
    check_codings,
    checked_target,
    is_host,
    unknown_method,
    wants_websocket,
)

_REQUEST = re.compile(rb"(%b) +([\x21-\x7e]+) +HTTP/([0-9]\.[0-9])" % TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % TOKEN)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]")
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_LENGTH = re.compile(rb"[0-9]{1,20}")


class _Parser(h11.Connection):
    """Shows each event to the protocol before uvicorn sees it."""

    def __init__(self, protocol: "H11Protocol", largest_head: int) -> None:
        super().__init__(h11.SERVER, largest_head)
        self._protocol = protocol

    def next_event(self) -> Any:
        """Raises HttpRefusal instead of errors of h11."""
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            large = error.error_status_hint == 431
            raise (HttpRefusal(431, "headers") if large else HttpRefusal(400)) from error
        match event:
            case h11.Data():
                self._protocol.on_body(len(event.data))
            case h11.EndOfMessage():
                self._protocol.on_end(event)
        return event


class H11Protocol(HttpProtocol, UvicornProtocol):
    def __init__(self, *arguments: Any, guard: Guard) -> None:
        super().__init__(*arguments, guard=guard)
        self.conn = _Parser(self, self._largest_head)
        self._request: re.Match[bytes] | None = None  # the first line of the head at hand
        self._fields: list[tuple[bytes, bytes]] = []  # its headers
        self._size = 0  # their bytes, and those of the trailers
        self._line = b""  # what has come of a line that has no end yet
        self._method = b""

    def _feed(self, piece: bytes) -> None:
        before = self.cycle
        try:
            known = self._read_head(piece) if self._phase is HEAD else piece
            if not known:
                return
            self.conn.receive_data(known)
            self.handle_events()
        except HttpRefusal as refusal:
            self._refuse(refusal)
            return
        if self.cycle is not before:
            self.cycle.transport = CoalescedWrites(
                self.transport, self.loop, self.hang_up, self.cycle.scope
            )
            self.cycle.scope[CONNECTION] = self

    def _read_head(self, piece: bytes) -> bytes:
        """Check a piece of a head; return the whole head at its end. Raises HttpRefusal."""
        self._raw += len(piece)
        *lines, self._line = (self._line + piece).split(b"\r\n")
        for line in lines:
            if not line:
                return self._checked()
            self._read_line(line)
        if _CONTROL.search(self._line):
            raise _bad_line(self._line) if self._request is None else HttpRefusal(400)
        if self._raw > self._largest_head:
            raise HttpRefusal(431, "headers")
        return b""

    def _read_line(self, line: bytes) -> None:
        if self._request is None:
            self._request = _REQUEST.fullmatch(line)
            if self._request is None or self._request[1] not in METHODS:
                raise _bad_line(line + b"\r\n")
            self._size, self._fields = len(self._request[2]), []
        else:
            field = _FIELD.fullmatch(line)
            if field is None:
                raise HttpRefusal(400)
            name, value = field[1].lower(), field[2].rstrip(b" \t")
            self._size += len(name) + len(value) + 4
            if name not in self._dropped:
                self._fields.append((name, value))
        if self._size > self._largest_head or len(self._fields) > self._most_headers:
            raise HttpRefusal(431, "headers")

    def _checked(self) -> bytes:
        """Check a whole head; return it in the form that h11 gets. Raises HttpRefusal."""
        request, self._request = self._request, None
        assert request is not None
        if self._refusal is not None:
            raise self._refusal
        method, hosts = request[1], self._values(b"host")
        if not all(map(is_host, hosts)):
            raise HttpRefusal(400)
        version, target, self._fields = checked_target(
            request[3].decode(), method, request[2], self._fields, len(hosts)
        )
        self._left = self._framed(version)
        self._method, self._phase, self.received = method, BODY, 0
        lines = [b"%b: %b\r\n" % field for field in self._fields]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version.encode(), b"".join(lines))

    def _framed(self, version: str) -> int:
        """Return the bytes of the body, 0 if it comes in chunks. Raises HttpRefusal."""
        codings, lengths = self._values(b"transfer-encoding"), self._values(b"content-length")
        if codings:
            if lengths:
                raise HttpRefusal(400)  # two readers may see its end in two places
            check_codings(version, b",".join(codings))
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) >= 2**64:
                raise HttpRefusal(400)
            return int(lengths[0])
        return 0

    def _values(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self._fields if name == wanted]

    def on_body(self, size: int) -> None:
        self._since = self.loop.time()
        if self._left:
            self._left -= size
        self.received += size
        if self.cycle.response_complete:
            self._spill(size)

    def on_end(self, event: h11.EndOfMessage) -> None:
        """End a request. Its trailers are dropped, like those of httptools. Raises HttpRefusal."""
        trailers = list(event.headers)
        if trailers:
            self._guard.dropped(len(trailers))
        size = self._size + sum(len(name) + len(value) + 4 for name, value in trailers)
        if size > self._largest_head or len(self._fields) + len(trailers) > self._most_headers:
            raise HttpRefusal(431, "headers")
        framed = any(name in _FRAMING or _CONTROL.search(value) for name, value in trailers)
        if framed or self.conn.trailing_data[0]:  # h11 has taken for an end what is none
            raise HttpRefusal(400)
        self._enter(IDLE if self.cycle.response_complete else ANSWER)

    def on_response_complete(self) -> None:
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.DONE:
            self.conn.start_next_cycle()
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Raises HttpRefusal."""
        self._open_websocket(self._method, event.target, self.headers)

    def _should_upgrade(self) -> bool:
        return wants_websocket(self.scope["http_version"], self.headers)


def _bad_line(line: bytes) -> HttpRefusal:
    return HttpRefusal(400) if line.split(b" ")[0] in METHODS else unknown_method(line)
