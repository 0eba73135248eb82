"""What clients may send, and what they get: one table for both parsers.

Each row has a name, the bytes that are sent, the statuses of the answers (none: the connection is
closed without one) and what the application sees of each request it gets. Behind an answer that
does not end the connection the test sends another request, so a row also says where its own ends.
The names begin with the RFC and the section: 9112 (HTTP/1.1), 9110 (semantics), 6455 (WebSockets).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The settings that the table is written for.
OPTIONS: dict[str, Any] = {
    "max_header_size": 16384,
    "max_headers": 20,
    "max_body_size": 1000,
    "header_timeout": 3.0,
    "progress_timeout": 3.0,
    "websocket_message_limit": 100_000,
}
# What h11 does otherwise, and why it may: it reads a chunk extension or a trailer without looking
# at it closely, and neither reaches the application.
H11_IS_LENIENT = frozenset(
    (
        "9112 7.1.1: an extension without a name",
        "9112 7.1.1: an extension of two words",
        "9112 7.1.1: a control character in an extension",
        "9112 7.1.2: a folded trailer",
    )
)

Seen = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One exchange. `sees` has a mapping for each request that reaches the application: the keys of
    the scope, `body`, and under `headers` values by name, None for one that is not there."""

    name: str
    sent: bytes
    statuses: tuple[int, ...] = (200,)
    sees: Sequence[Seen] | None = None  # None: as many requests as answers with 200
    half_closes: bool = False  # the client closes its half of the connection when all is sent

    @property
    def expected(self) -> Sequence[Seen]:
        """What the application sees."""
        if self.sees is not None:
            return self.sees
        return [{}] * sum(status in (200, 101) for status in self.statuses)


@dataclass(frozen=True)
class Talk:
    """What is sent over a WebSocket that is open: the messages that the application sees, and the
    code with which it ends, 0 if it stays open."""

    name: str
    sent: bytes
    messages: Sequence[str | bytes] = ()
    code: int = 0
    pongs: Sequence[bytes] | None = ()  # None: any number


def head(first: str, *lines: str, host: str | None = "test") -> bytes:
    """Return a head with this first line."""
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([first, *hosts, *lines, "", ""]).encode("latin-1")


def get(*lines: str, target: str = "/a", version: str = "1.1", host: str | None = "test") -> bytes:
    """Return a GET."""
    return head(f"GET {target} HTTP/{version}", *lines, host=host)


def post(*lines: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """Return a POST with these headers and this behind them."""
    return head(f"POST /a HTTP/{version}", *lines) + body


def sized(length: str, body: bytes = b"abc") -> bytes:
    """Return a POST with this Content-Length."""
    return post(f"Content-Length: {length}", body=body)


def coded(*codings: str, version: str = "1.1") -> bytes:
    """Return a POST with these transfer codings and an empty chunked body."""
    lines = [f"Transfer-Encoding: {coding}" for coding in codings]
    return post(*lines, body=b"0\r\n\r\n", version=version)


def chunked(body: bytes) -> bytes:
    """Return a POST with this as its chunked body."""
    return post("Transfer-Encoding: chunked", body=body)


# To the application, a client whose request is refused behind its head has gone.
GONE: Sequence[Seen] = ({"body": None},)


def broken(name: str, body: bytes, status: int = 400) -> Row:
    """Return a row of a request whose chunks are refused."""
    return Row(name, chunked(body), (status,), GONE)


def trailed(*lines: str) -> bytes:
    """Return a chunked POST with these trailers."""
    return chunked(
        b"3\r\nabc\r\n0\r\n" + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    )


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
OFFER = ("Connection: Upgrade", "Upgrade: websocket")


def shake(*lines: str, first: str = "GET /ws HTTP/1.1", host: str | None = "test") -> bytes:
    """Return a handshake with an offer of a WebSocket and these headers."""
    return head(first, *OFFER, *lines, host=host)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """Return a frame, by default a whole message with a mask."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + (size & 0xFFFF).to_bytes(2, "big")
    if size > 0xFFFF:
        length = b"\x7f" + size.to_bytes(8, "big")
    mask = b"\x01\x02\x03\x04" if masked else b""
    data = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if masked else payload
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    return bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:] + mask + data


def closing(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
A, ABC = {"path": "/a"}, {"path": "/a", "body": b"abc"}

REQUEST_LINES = [
    Row("9112 3: a GET", get(), sees=[{"method": "GET", "path": "/a", "http_version": "1.1"}]),
    Row("9112 3: two spaces before the target", head("GET  /a HTTP/1.1"), sees=[A]),
    Row("9112 3: two spaces before the version", head("GET /a  HTTP/1.1"), sees=[A]),
    Row("9112 3: a tab after the method", head("GET\t/a HTTP/1.1"), (400,)),
    Row("9112 3: a tab before the version", head("GET /a\tHTTP/1.1"), (400,)),
    Row("9112 3: a space before the method", head(" GET /a HTTP/1.1"), (400,)),
    Row("9112 3: a space behind the version", head("GET /a HTTP/1.1 "), (400,)),
    Row("9112 3: nothing but a method", b"GET\r\n\r\n", (400,)),
    Row("9112 3: no method", head("/a HTTP/1.1"), (400,)),
    Row("9112 3: no target", head("GET HTTP/1.1"), (400,)),
    Row("9112 3: four words", head("GET /a b HTTP/1.1"), (400,)),
    Row("9112 2.2: an empty line before", b"\r\n" + get(), sees=[A]),
    Row("9112 2.2: empty lines before", b"\r\n\r\n\r\n" + get(), sees=[A]),
    Row("9112 2.2: a line feed before", b"\n" + get(), sees=[A]),
    Row("9112 2.2: lines that end with a line feed", b"GET /a HTTP/1.1\nHost: x\n\n", (400,)),
    Row("9112 2.2: one line that ends with a line feed",
        b"GET /a HTTP/1.1\nHost: x\r\n\r\n", (400,)),
    Row("9112 2.2: a line that ends with a carriage return",
        b"GET /a HTTP/1.1\rHost: x\r\n\r\n", (400,)),
    Row("9112 2.2: TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    Row("9112 2.2: SSH", b"SSH-2.0-OpenSSH_9\r\n", (400,)),
    Row("9112 2.2: a NUL", b"\x00" * 20, (400,)),
    Row("9112 2.3: no version", b"GET /a\r\n\r\n", (400,)),
    Row("9112 2.3: HTTP/0.9", get(version="0.9"), (400,)),
    Row("9112 2.3: HTTP/1.0", get(version="1.0"), sees=[{"http_version": "1.0"}]),
    Row("9112 2.3: HTTP/1.2 is treated as 1.1", get(version="1.2"), sees=[{"http_version": "1.1"}]),
    Row("9112 2.3: HTTP/1.9 is treated as 1.1", get(version="1.9"), sees=[{"http_version": "1.1"}]),
    Row("9110 15.6.6: HTTP/2.0", get(version="2.0"), (505,)),
    Row("9110 15.6.6: HTTP/3.0", get(version="3.0"), (505,)),
    Row("9110 15.6.6: HTTP/9.9", get(version="9.9"), (505,)),
    Row("9113 3.4: the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)),
    Row("9112 2.3: HTTP/1", get(version="1"), (400,)),
    Row("9112 2.3: HTTP/1.10", get(version="1.10"), (400,)),
    Row("9112 2.3: HTTP/11.1", get(version="11.1"), (400,)),
    Row("9112 2.3: HTTP/1,1", get(version="1,1"), (400,)),
    Row("9112 2.3: HTTP/-1.1", get(version="-1.1"), (400,)),
    Row("9112 2.3: http/1.1", head("GET /a http/1.1"), (400,)),
    Row("9112 2.3: HTTPS/1.1", head("GET /a HTTPS/1.1"), (400,)),
    Row("9112 2.3: ICE/1.0", head("GET /a ICE/1.0"), (400,)),
    Row("9110 9.1: a method that is not known", head("FOO /a HTTP/1.1"), (501,)),
    Row("9110 9.1: a method in small letters", head("get /a HTTP/1.1"), (501,)),
    Row("9110 9.1: a method with more behind it", head("GETX /a HTTP/1.1"), (501,)),
    Row("9110 9.1: half a method", head("GE /a HTTP/1.1"), (501,)),
    Row("9110 9.1: a method that is not a token", head("G(T /a HTTP/1.1"), (400,)),
    Row("9110 9.1: a method that is not ASCII", head("G\xffT /a HTTP/1.1"), (400,)),
    Row("9110 9.3.6: CONNECT", head("CONNECT test:80 HTTP/1.1"), (501,)),
    Row("9110 9.3.6: CONNECT with a path", head("CONNECT /a HTTP/1.1"), (501,)),
    Row("9110 9.3: DELETE", head("DELETE /a HTTP/1.1"), sees=[{"method": "DELETE"}]),
    Row("9110 9.3: PATCH", head("PATCH /a HTTP/1.1"), sees=[{"method": "PATCH"}]),
    Row("9110 9.3: TRACE", head("TRACE /a HTTP/1.1"), sees=[{"method": "TRACE"}]),
    Row("9110 9.3: HEAD", head("HEAD /a HTTP/1.1"), sees=[{"method": "HEAD"}]),
    Row("9110 9.3: PROPFIND", head("PROPFIND /a HTTP/1.1"), sees=[{"method": "PROPFIND"}]),
]  # fmt: skip

TARGETS = [
    Row("9112 3.2.1: a query", get(target="/a?b=c"), sees=[{**A, "query_string": b"b=c"}]),
    Row("9112 3.2.1: an empty query", get(target="/a?"), sees=[{**A, "query_string": b""}]),
    Row("9112 3.2.1: two question marks", get(target="/a?b?c"), sees=[{"query_string": b"b?c"}]),
    Row("9112 3.2.1: two slashes", get(target="//a/b"), sees=[{"path": "//a/b"}]),
    Row("9112 3.2.1: dots are kept", get(target="/a/../b"), sees=[{"path": "/a/../b"}]),
    Row("9112 3.2.1: what is escaped", get(target="/%2e%2e/%41"),
        sees=[{"path": "/../A", "raw_path": b"/%2e%2e/%41"}]),
    Row("9112 3.2.1: an escaped UTF-8", get(target="/%c3%a9"), sees=[{"path": "/\xe9"}]),
    Row("9112 3.2.1: an escaped NUL", get(target="/%00"), sees=[{"path": "/\0"}]),
    Row("9112 3.2.1: a bad escape is kept", get(target="/%zz"), sees=[{"path": "/%zz"}]),
    Row("9112 3.2.1: all that can be seen", get(target="/\"<>^`{|}"), sees=[{"path": '/"<>^`{|}'}]),
    Row("9112 3.2: a fragment", get(target="/a#b"), (400,)),
    Row("9112 3.2: a fragment behind a query", get(target="/a?b#c"), (400,)),
    Row("9112 3.2: a byte that is not ASCII", get(target="/\xff"), (400,)),
    Row("9112 3.2: a DEL", get(target="/\x7f"), (400,)),
    Row("9112 3.2: a control character", get(target="/\x01"), (400,)),
    Row("9112 3.2: a NUL", get(target="/\x00"), (400,)),
    Row("9112 3.2: no slash", get(target="a"), (400,)),
    Row("9112 3.2: a query without a path", get(target="?a"), (400,)),
    Row("9112 3.2.2: absolute", get(target="http://test/a?b"), sees=[{**A, "query_string": b"b"}]),
    Row("9112 3.2.2: absolute, another host counts", get(target="http://other:81/a"),
        sees=[{**A, "headers": {"host": "other:81"}}]),
    Row("9112 3.2.2: absolute, https", get(target="https://test/a"), sees=[A]),
    Row("9112 3.2.2: absolute, capitals", get(target="HTTP://test/a"), sees=[A]),
    Row("9112 3.2.2: absolute without a path", get(target="http://test"), sees=[{"path": "/"}]),
    Row("9112 3.2.2: absolute with a query only", get(target="http://test?b"),
        sees=[{"path": "/", "query_string": b"b"}]),
    Row("9112 3.2.2: absolute, ftp", get(target="ftp://test/a"), (400,)),
    Row("9112 3.2.2: absolute without a host", get(target="http:///a"), (400,)),
    Row("9112 3.2.2: absolute with a user", get(target="http://me@test/a"), (400,)),
    Row("9112 3.2.2: absolute with a fragment", get(target="http://test/a#b"), (400,)),
    Row("9112 3.2.2: absolute without Host", get(target="http://test/a", host=None), (400,)),
    Row("9112 3.2.3: host and port", get(target="test:80"), (400,)),
    Row("9112 3.2.4: OPTIONS *", head("OPTIONS * HTTP/1.1"), (404,)),
    Row("9112 3.2.4: GET *", get(target="*"), (400,)),
    Row("9110 4.1: a target of 9 KB", get(target="/" + "a" * 9000), sees=[{}]),
    Row("9110 15.5.15: a target of 17 KB", get(target="/" + "a" * 17000), (431,)),
]  # fmt: skip

HOSTS = [
    Row("9112 3.2: no Host", get(host=None), (400,)),
    Row("9112 3.2: no Host with HTTP/1.0", get(host=None, version="1.0"), sees=[A]),
    Row("9112 3.2: two hosts", get("Host: other"), (400,)),
    Row("9112 3.2: twice the same host", get("Host: test"), (400,)),
    Row("9112 3.2: two hosts with HTTP/1.0", get("Host: other", version="1.0"), (400,)),
    Row("9112 3.2: two hosts, in capitals", get("HOST: other"), (400,)),
    Row("9112 3.2: an empty Host", get(host=""), sees=[{"headers": {"host": ""}}]),
    Row("9110 7.2: a port", get(host="test:8080"), sees=[{"headers": {"host": "test:8080"}}]),
    Row("9110 7.2: a colon and no port", get(host="test:"), sees=[{}]),
    Row("9110 7.2: IPv6", get(host="[::1]:80"), sees=[{}]),
    Row("9110 7.2: an underscore", get(host="a_b.test"), sees=[{}]),
    Row("9110 7.2: half of an IPv6", get(host="[::1"), (400,)),
    Row("9110 7.2: a port that is not a number", get(host="test:http"), (400,)),
    Row("9110 7.2: a path", get(host="test/a"), (400,)),
    Row("9110 7.2: a user", get(host="me@test"), (400,)),
    Row("9110 7.2: two in one", get(host="test other"), (400,)),
    Row("9110 7.2: a bad escape", get(host="te%zzst"), (400,)),
    Row("9110 7.2: not ASCII", get(host="t\xe9st"), (400,)),
    Row("9110 7.2: a scheme", get(host="http://test"), (400,)),
]  # fmt: skip

TCHARS = "!#$%&'*+-.^_`|~09azAZ"
FIELDS = [
    Row("9112 5: a field", get("X-A: b"), sees=[{"headers": {"x-a": "b"}}]),
    Row("9112 5: no value", get("X-A:"), sees=[{"headers": {"x-a": ""}}]),
    Row("9112 5: no space", get("X-A:b"), sees=[{"headers": {"x-a": "b"}}]),
    Row("9112 5: white space around", get("X-A: \t b \t"), sees=[{"headers": {"x-a": "b"}}]),
    Row("9112 5: nothing but white space", get("X-A: \t "), sees=[{"headers": {"x-a": ""}}]),
    Row("9112 5: white space within", get("X-A: b \t c"), sees=[{"headers": {"x-a": "b \t c"}}]),
    Row("9112 5: a colon in a value", get("X-A: b:c"), sees=[{"headers": {"x-a": "b:c"}}]),
    Row("9112 5: twice", get("X-A: b", "x-a: c"), sees=[{"headers": {"x-a": "b|c"}}]),
    Row("9112 5.1: a space before the colon", get("X-A : b"), (400,)),
    Row("9112 5.1: a tab before the colon", get("X-A\t: b"), (400,)),
    Row("9112 5.1: a space in a name", get("X A: b"), (400,)),
    Row("9112 5: no colon", get("X-A"), (400,)),
    Row("9112 5: no name", get(": b"), (400,)),
    Row("9112 2.2: white space before the first field",
        b"GET /a HTTP/1.1\r\n X-A: b\r\nHost: test\r\n\r\n", (400,)),
    Row("9112 5.2: a folded value", get("X-A: b", " c"), (400,)),
    Row("9112 5.2: a value folded with a tab", get("X-A: b", "\tc"), (400,)),
    Row("9112 5.2: a folded Host", get(" other"), (400,)),
    Row("9110 5.6.2: every character of a token", get(f"{TCHARS}: b"),
        sees=[{"headers": {TCHARS.lower(): "b"}}]),
    *(Row(f"9110 5.6.2: {char!r} in a name", get(f"X{char}A: b"), (400,))
      for char in "()<>@,;\\\"/[]?={}\x00\x01\x7f\x80\xff"),
    *(Row(f"9110 5.5: {char!r} in a value", get(f"X-A: b{char}c"), (400,))
      for char in "\x00\x01\x08\x0b\x0c\x0e\x1f\x7f\r\n"),
    Row("9110 5.5: a carriage return in the end of a value", get("X-A: b\r"), (400,)),
    Row("9110 5.5: not ASCII", get("X-A: b\xff"), sees=[{"headers": {"x-a": "b\xff"}}]),
    Row("9110 5.4: a field of 9 KB", get("X-A: " + "b" * 9000), sees=[{}]),
    Row("6585 5: a field of 17 KB", get("X-A: " + "b" * 17000), (431,)),
    Row("6585 5: fields of 17 KB", get(*(f"X-{n}: " + "b" * 1000 for n in range(17))), (431,)),
    Row("6585 5: 20 fields", get(*(f"X-{n}: b" for n in range(19))), sees=[{}]),
    Row("6585 5: 21 fields", get(*(f"X-{n}: b" for n in range(20))), (431,)),
    Row("6585 5: 17 KB without an end",
        b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + b"b" * 17000, (431,)),
    Row("6585 5: a name without an end", b"GET /a HTTP/1.1\r\nHost: x\r\n" + b"b" * 17000, (431,)),
    Row("9110 7.6.1: of the connection",
        get("TE: trailers", "Keep-Alive: 5", "Proxy-Connection: x"),
        sees=[{"headers": {"te": None, "keep-alive": None, "proxy-connection": None}}]),
    Row("9110 7.6.1: Trailer", get("Trailer: X-A"), sees=[{"headers": {"trailer": None}}]),
    Row("9110 7.6.1: Proxy (httpoxy)", get("Proxy: evil"), sees=[{"headers": {"proxy": None}}]),
    Row("7239 8: a stranger's X-Forwarded-For", get("X-Forwarded-For: 1.2.3.4"),
        sees=[{"headers": {"x-forwarded-for": None}}]),
    Row("7239 8: a stranger's Forwarded", get("Forwarded: for=1.2.3.4"),
        sees=[{"headers": {"forwarded": None}}]),
    Row("9110 10.1.1: Expect", post("Expect: 100-continue", "Content-Length: 3", body=b"abc"),
        (100, 200), [ABC]),
    Row("9110 10.1.1: Expect in capitals",
        post("Expect: 100-Continue", "Content-Length: 3", body=b"abc"), (100, 200), [ABC]),
    Row("9110 10.1.1: Expect with HTTP/1.0",
        post("Expect: 100-continue", "Content-Length: 3", body=b"abc", version="1.0"),
        sees=[ABC]),
    Row("9110 10.1.1: another expectation", get("Expect: a-miracle"), sees=[A]),
]  # fmt: skip

BODIES = [
    Row("9112 6.2: a length", sized("3"), sees=[ABC]),
    Row("9112 6.2: no body", sized("0", b""), sees=[{"body": b""}]),
    Row("9112 6.2: neither length nor coding", post(), sees=[{"body": b""}]),
    Row("9112 6.2: zeros before", sized("003"), sees=[ABC]),
    Row("9112 6.2: white space around", sized(" 3 "), sees=[ABC]),
    Row("9110 8.6: a GET with a body", get("Content-Length: 3") + b"abc", sees=[ABC]),
    *(Row(f"9112 6.3: a length of {length!r}", sized(length), (400,))
      for length in ("", "+3", "-3", "3.0", "0x3", "3 3", "3,3", "3, 3", "3,", "abc", "3;a", "\xb3",
                     "18446744073709551616", "9" * 40)),
    Row("9112 6.3: two lengths",
        post("Content-Length: 3", "Content-Length: 4", body=b"abc"), (400,)),
    Row("9112 6.3: twice the same length",
        post("Content-Length: 3", "Content-Length: 3", body=b"abc"), (400,)),
    Row("9112 6.3: a folded length", post("Content-Length: 3", " 0", body=b"abc"), (400,)),
    Row("9110 15.5.14: a body of 1000 bytes", sized("1000", b"x" * 1000), sees=[{}]),
    Row("9110 15.5.14: a body of 1001 bytes", sized("1001", b"x" * 1001), (413,), GONE),
    Row("9110 15.5.14: a length of 2**63", sized("9223372036854775808", b""), (413,), GONE),
    Row("9112 6.1: chunks", chunked(b"3\r\nabc\r\n0\r\n\r\n"), sees=[ABC]),
    Row("9112 6.1: CHUNKED", coded("CHUNKED"), sees=[A]),
    Row("9112 6.1: white space around", coded(" \tchunked "), sees=[A]),
    Row("9112 6.1: a GET with chunks", get("Transfer-Encoding: chunked") + b"0\r\n\r\n", sees=[A]),
    Row("9112 6.1: gzip, chunked", coded("gzip, chunked"), (501,)),
    Row("9112 6.1: gzip and chunked in two fields", coded("gzip", "chunked"), (501,)),
    *(Row(f"9112 6.3: {coding!r}", coded(coding), (400,))
      for coding in ("", "gzip", "identity", "chunked, gzip", "chunked, chunked", "xchunked",
                     "chunkedx", "chunked;a=b", "chunked,", ", chunked", "chunked chunked",
                     "\x0bchunked", "chunked\x00", '"chunked"')),
    Row("9112 6.3: chunked in two fields", coded("chunked", "chunked"), (400,)),
    Row("9112 6.3: chunked and gzip in two fields", coded("chunked", "gzip"), (400,)),
    Row("9112 6.1: chunks with HTTP/1.0", coded("chunked", version="1.0"), (400,)),
    Row("9112 6.1: a length, then chunks",
        post("Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), (400,)),
    Row("9112 6.1: chunks, then a length",
        post("Transfer-Encoding: chunked", "Content-Length: 3", body=b"0\r\n\r\n"), (400,)),
    Row("9112 5.1: a space before the colon of the coding",
        post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"), (400,)),
]  # fmt: skip

CHUNKS = [
    Row("9112 7.1: two chunks", chunked(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), sees=[ABC]),
    Row("9112 7.1: a size in hexadecimal", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"),
        sees=[{"body": b"0123456789"}]),
    Row("9112 7.1: a size in capitals", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), sees=[{}]),
    Row("9112 7.1: zeros before a size", chunked(b"0003\r\nabc\r\n0\r\n\r\n"), sees=[ABC]),
    Row("9112 7.1: many zeros in the end", chunked(b"3\r\nabc\r\n000\r\n\r\n"), sees=[ABC]),
    Row("9112 7.1: no chunk", chunked(b"0\r\n\r\n"), sees=[{"body": b""}]),
    Row("9112 7.1: line ends in a chunk", chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"),
        sees=[{"body": b"\r\n\r\n"}]),
    Row("9112 7.1.1: an extension", chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n"), sees=[ABC]),
    Row("9112 7.1.1: a quoted extension", chunked(b'3;a="b c"\r\nabc\r\n0\r\n\r\n'), sees=[ABC]),
    Row("9112 7.1.1: an extension of the last chunk",
        chunked(b"3\r\nabc\r\n0;a\r\n\r\n"), sees=[ABC]),
    Row("9112 7.1.1: a space behind a size", chunked(b"3 \r\nabc\r\n0\r\n\r\n"), sees=[ABC]),
    broken("9112 7.1.1: an extension without a name", b"3;\r\nabc\r\n0\r\n\r\n"),
    broken("9112 7.1.1: an extension of two words", b"3;a b\r\nabc\r\n0\r\n\r\n"),
    broken("9112 7.1.1: a control character in an extension",
        b"3;\x01\r\nabc\r\n0\r\n\r\n"),
    broken("9112 7.1.1: a line feed in an extension", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    *(broken(f"9112 7.1: a size of {size.decode()!r}", size + b"\r\nabc\r\n0\r\n\r\n")
      for size in (b"", b"+3", b"-3", b"0x3", b"x", b"3.", b" 3", b"3g", b"3,3", b"3 3", b"3\r")),
    broken("9112 7.1: a line feed behind a size", b"3\nabc\r\n0\r\n\r\n"),
    broken("9112 7.1: a line feed behind a chunk", b"3\r\nabc\n0\r\n\r\n"),
    broken("9112 7.1: nothing behind a chunk", b"3\r\nabc0\r\n\r\n"),
    broken("9112 7.1: a size that is too small", b"3\r\nabcd\r\n0\r\n\r\n"),
    broken("9112 7.1: a size of 2**128", b"1" + b"0" * 32 + b"\r\nabc"),
    Row("9110 15.5.14: chunks of 1001 bytes", chunked(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"),
        (413,), GONE),
    Row("9112 7.1.2: a trailer", trailed("X-A: b"), sees=[{**ABC, "headers": {"x-a": None}}]),
    *(Row(f"9110 6.5.1: the trailer {name}", trailed(f"{name}: evil"),
          sees=[{**ABC, "headers": {name.lower(): value}}])
      for name, value in (("Authorization", None), ("Cookie", None), ("X-User", None),
                          ("X-Forwarded-For", None), ("Host", "test"), ("Expect", None),
                          ("Connection", None), ("Upgrade", None))),
    Row("9112 7.1.2: a space before the colon of a trailer", trailed("X-A : b"), (400,), GONE),
    Row("9112 7.1.2: a trailer without a colon", trailed("X-A"), (400,), GONE),
    Row("9112 7.1.2: a folded trailer", trailed("X-A: b", " c"), (400,), GONE),
    Row("9112 7.1.2: a control character in a trailer", trailed("X-A: \x01"), (400,), GONE),
    Row("9110 6.5.1: a length in a trailer", trailed("Content-Length: 3"), (400,), GONE),
    Row("9110 6.5.1: a coding in a trailer", trailed("Transfer-Encoding: chunked"), (400,), GONE),
    Row("6585 5: trailers of 17 KB",
        trailed(*(f"X-{n}: " + "b" * 2000 for n in range(9))), (431,), GONE),
    Row("6585 5: 20 trailers", trailed(*(f"X-{n}: b" for n in range(20))), (431,), GONE),
    Row("6585 5: a trailer without an end",
        chunked(b"3\r\nabc\r\n0\r\nX-A: " + b"b" * 34000), (431,), GONE),
]  # fmt: skip

CONNECTIONS = [
    Row("9112 9.3: close", get("Connection: close"), sees=[A]),
    Row("9112 9.3: close among others", get("Connection: x-a, close"), sees=[A]),
    Row("9112 9.3: keep-alive", get("Connection: keep-alive"), sees=[A]),
    Row("9112 9.3: HTTP/1.0 and keep-alive",
        get("Connection: keep-alive", version="1.0"), sees=[A]),
    Row("9112 9.3.2: two requests", get() + get(target="/b"), (200, 200), [A, {"path": "/b"}]),
    Row("9112 9.3.2: three requests with bodies",
        sized("3") + chunked(b"1\r\na\r\n0\r\n\r\n") + sized("3"),
        (200, 200, 200), [ABC, {"body": b"a"}, ABC]),
    Row("9112 9.3.2: an empty line between", get() + b"\r\n" + get(), (200, 200)),
    Row("9112 9.3.2: twelve requests", get() * 12, (200,) * 12),
    Row("9112 9.3.2: a bad one behind a good one", get() + b"\x00\r\n\r\n", (200, 400)),
    Row("9112 9.3.2: no Host behind a good one", get() + get(host=None), (200, 400)),
    Row("9112 9.3.2: a good one behind close", get("Connection: close") + get(), (200,)),
    Row("9112 9.3.2: a good one behind a bad one", get(host=None) + get(), (400,)),
    Row("9112 9.6: the client closes its half", get(), half_closes=True),
    Row("9112 9.6: the client closes its half behind a body", sized("3"), half_closes=True),
    Row("9112 9.6: the client closes its half behind two requests", get() + get(), (200, 200),
        half_closes=True),
    Row("9112 8: the client closes its half within a head", get()[:-2], (), half_closes=True),
    Row("9112 8: the client closes its half within a body", sized("4"), (), GONE,
        half_closes=True),
    Row("9110 15.5.9: half a head", get()[:-2], (408,)),
    Row("9110 15.5.9: half a request line", b"GET /a", (408,)),
    Row("9110 15.5.9: an empty line and nothing else", b"\r\n", (408,)),
    Row("9110 15.5.9: half a body", sized("4"), (408,), GONE),
    Row("9110 15.5.9: half a chunk", chunked(b"4\r\nabc"), (408,), GONE),
    Row("9110 15.5.9: half a trailer", chunked(b"0\r\nX-A: b"), (408,), GONE),
    Row("9112 9.3: nothing", b"", ()),
    Row("9110 7.8: an offer of h2c", get("Connection: Upgrade", "Upgrade: h2c"), sees=[A]),
    Row("9110 7.8: an offer of h2c with a body",
        post("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3", body=b"abc"), sees=[ABC]),
    Row("9110 7.8: an offer without Connection", get("Upgrade: websocket"), sees=[A]),
]  # fmt: skip

HANDSHAKES = [
    Row("6455 4.1: a handshake", shake(KEY, VERSION), (101,), [{"path": "/ws"}]),
    Row("6455 4.2.1: capitals",
        head("GET /ws HTTP/1.1", "CONNECTION: UPGRADE", "UPGRADE: WebSocket",
                                     KEY.upper()[:19] + KEY[19:], VERSION), (101,)),
    Row("6455 4.2.1: keep-alive, Upgrade", head(
        "GET /ws HTTP/1.1", "Connection: keep-alive, Upgrade", OFFER[1], KEY, VERSION), (101,)),
    Row("6455 4.2.1: Connection in two fields", head(
        "GET /ws HTTP/1.1", *OFFER, "Connection: keep-alive", KEY, VERSION), (101,)),
    Row("6455 4.2.1: a query", shake(KEY, VERSION, first="GET /ws?a=b HTTP/1.1"), (101,),
        [{"path": "/ws", "query_string": b"a=b"}]),
    Row("6455 4.2.1: absolute", shake(KEY, VERSION, first="GET http://other/ws HTTP/1.1"), (101,),
        [{"path": "/ws", "headers": {"host": "other"}}]),
    Row("6455 4.1: a cookie of 9 KB", shake(KEY, VERSION, "Cookie: " + "a" * 9000), (101,)),
    Row("6455 4.1: a target of 9 KB", shake(KEY, VERSION, first=f"GET /ws?{'a' * 9000} HTTP/1.1"),
        (101,)),
    Row("6455 4.1: not ASCII",
        shake(KEY, VERSION, "X-A: \xe9"), (101,), [{"headers": {"x-a": "\xe9"}}]),
    Row("6455 4.1: a head of 17 KB", shake(KEY, VERSION, "Cookie: " + "a" * 17000), (431,)),
    Row("6455 4.1: 21 fields", shake(KEY, VERSION, *(f"X-{n}: b" for n in range(16))), (431,)),
    Row("6455 4.1: no body", shake(KEY, VERSION, "Content-Length: 0"), (101,)),
    Row("6455 4.1: a body", shake(KEY, VERSION, "Content-Length: 3") + b"abc", (400,)),
    Row("6455 4.1: a body that does not come", shake(KEY, VERSION, "Content-Length: 3"), (400,)),
    Row("6455 4.1: a chunked body",
        shake(KEY, VERSION, "Transfer-Encoding: chunked") + b"0\r\n\r\n", (400,)),
    Row("6455 4.2.1: POST", shake(KEY, VERSION, first="POST /ws HTTP/1.1"), (400,)),
    Row("6455 4.2.1: HEAD", shake(KEY, VERSION, first="HEAD /ws HTTP/1.1"), (400,)),
    Row("9110 7.8: HTTP/1.0 cannot upgrade", shake(KEY, VERSION, first="GET /a HTTP/1.0"), (200,),
        [{"type": "http", "path": "/a"}]),
    Row("6455 4.2.1: no Host", shake(KEY, VERSION, host=None), (400,)),
    Row("6455 4.2.1: two hosts", shake(KEY, VERSION, "Host: other"), (400,)),
    Row("6455 4.2.1: no key", shake(VERSION), (400,)),
    Row("6455 4.2.1: an empty key", shake("Sec-WebSocket-Key:", VERSION), (400,)),
    Row("6455 4.2.1: a short key", shake("Sec-WebSocket-Key: c2hvcnQ=", VERSION), (400,)),
    Row("6455 4.2.1: a long key", shake(f"Sec-WebSocket-Key: {'YQ' * 20}", VERSION), (400,)),
    Row("6455 4.2.1: a key that is not base64",
        shake("Sec-WebSocket-Key: " + "?" * 24, VERSION), (400,)),
    Row("6455 4.2.1: two keys", shake(KEY, KEY, VERSION), (400,)),
    Row("6455 4.2.1: no version", shake(KEY), (400,)),
    *(Row(f"6455 4.4: version {version}", shake(KEY, f"Sec-WebSocket-Version: {version}"), (426,))
      for version in ("12", "8", "14", "013", "x", "13, 8")),
    Row("6455 4.4: two versions", shake(KEY, VERSION, "Sec-WebSocket-Version: 8"), (426,)),
    Row("6455 4.2.2: an extension is not taken", shake(
        KEY, VERSION, "Sec-WebSocket-Extensions: permessage-deflate"), (101,)),
    Row("6455 4.2.2: the application says no",
        shake(KEY, VERSION, first="GET /no HTTP/1.1"), (403,),
        [{"path": "/no"}]),
    Row("6455 4.2.2: the application says nothing",
        shake(KEY, VERSION, first="GET /later HTTP/1.1"), (503,), [{"path": "/later"}]),
    Row("9112 9.3.2: a handshake behind a request", get() + shake(KEY, VERSION), (200, 101)),
]  # fmt: skip

TALKS = [
    Talk("6455 5.6: a text", frame(TEXT, b"abc"), ["abc"]),
    Talk("6455 5.6: an empty text", frame(TEXT), [""]),
    Talk("6455 5.6: a text in UTF-8", frame(TEXT, "\u20ac".encode()), ["\u20ac"]),
    Talk("6455 5.6: bytes", frame(BINARY, b"\x00\xff"), [b"\x00\xff"]),
    Talk("6455 5.6: three messages", frame(TEXT, b"a") * 3, ["a", "a", "a"]),
    *(Talk(f"6455 5.2: {size} bytes", frame(BINARY, b"x" * size), [b"x" * size])
      for size in (125, 126, 127, 65535, 65536)),
    Talk("6455 5.4: two fragments", frame(TEXT, b"a", fin=False) + frame(CONT, b"b"), ["ab"]),
    Talk("6455 5.4: empty fragments",
         frame(TEXT, fin=False) + frame(CONT, fin=False) * 9 + frame(CONT, b"a"), ["a"]),
    Talk("6455 5.4: a character in two fragments",
         frame(TEXT, b"\xe2\x82", fin=False) + frame(CONT, b"\xac"), ["\u20ac"]),
    Talk("6455 5.4: fragments of bytes",
         frame(BINARY, b"a", fin=False) + frame(CONT, b"b", fin=False) + frame(CONT, b"c"),
         [b"abc"]),
    Talk("6455 5.4: a ping between fragments",
         frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b"),
         ["ab"], pongs=[b"p"]),
    Talk("6455 5.4: a text between fragments",
         frame(TEXT, b"a", fin=False) + frame(TEXT), code=1002),
    Talk("6455 5.4: nothing to go on with", frame(CONT, b"a"), code=1002),
    # The message before what is wrong is lost when both come at once.
    Talk("6455 5.4: a fragment behind the end", frame(TEXT, b"a") + frame(CONT, b"b"), code=1002),
    Talk("6455 5.5: a ping in fragments", frame(PING, b"a", fin=False), code=1002),
    Talk("6455 5.5: a ping of 125 bytes", frame(PING, b"p" * 125), pongs=[b"p" * 125]),
    Talk("6455 5.5: a ping of 126 bytes", frame(PING, b"p" * 126), code=1002),
    Talk("6455 5.5.2: an empty ping", frame(PING), pongs=[b""]),
    Talk("6455 5.5.2: three pings", frame(PING, b"p") * 3, pongs=[b"p"] * 3),
    Talk("6455 5.5.2: a flood of pings", frame(PING) * 5000, code=1008, pongs=None),
    Talk("6455 5.5.3: a pong", frame(PONG, b"p") + frame(TEXT, b"a"), ["a"]),
    Talk("6455 5.5.3: a flood of pongs", frame(PONG) * 5000, code=1008),
    Talk("6455 5.4: a flood of empty fragments",
         frame(TEXT, fin=False) + frame(CONT, fin=False) * 5000, code=1008),
    Talk("6455 5.1: no mask", frame(TEXT, b"abc", masked=False), code=1002),
    *(Talk(f"6455 5.2: RSV {rsv}", frame(TEXT, b"a", rsv=rsv), code=1002) for rsv in (1, 2, 4)),
    *(Talk(f"6455 5.2: opcode {opcode}", frame(opcode), code=1002)
      for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    Talk("6455 5.2: a length of 2**63", b"\x82\xff" + b"\x80" + b"\x00" * 7 + b"mask", code=1009),
    Talk("6455 10.4: a message that is too big", frame(BINARY, b"x" * 100_001), code=1009),
    Talk("6455 10.4: fragments that are too big",
         frame(BINARY, b"x" * 60_000, fin=False) + frame(CONT, b"x" * 60_000), code=1009),
    *(Talk(f"6455 8.1: {text!r} is not UTF-8", frame(TEXT, text), code=1007)
      for text in (b"\xff", b"a\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82",
                   b"\xf4\x90\x80\x80")),
    Talk("6455 5.5.1: a close", closing(1000), code=1000),
    Talk("6455 5.5.1: a close without a code", frame(CLOSE), code=1005),
    Talk("6455 5.5.1: a close with a reason", closing(1001, b"bye"), code=1001),
    Talk("6455 5.5.1: half a code", frame(CLOSE, b"\x03"), code=1002),
    Talk("6455 5.5.1: a reason that is not UTF-8", closing(1000, b"\xff"), code=1007),
    Talk("6455 5.5.1: a text behind a close", closing(1000) + frame(TEXT, b"a"), code=1000),
    *(Talk(f"6455 7.4: code {code}",
           closing(code), code=code) for code in (1003, 1011, 3000, 4999)),
    *(Talk(f"6455 7.4: code {code} cannot be sent", closing(code), code=1002)
      for code in (0, 999, 1004, 1005, 1006, 1015, 5000)),
]  # fmt: skip

ROWS = [*REQUEST_LINES, *TARGETS, *HOSTS, *FIELDS, *BODIES, *CHUNKS, *CONNECTIONS, *HANDSHAKES]
