"""Listeners that a plugin declares beside the platform's HTTP port.

They are served by every web worker, over sockets that the supervisor owns: whatever waits in them
while workers change is served by the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from skep.api.sockets.framing import Framing, Lines
from skep.base.errors import PlatformError

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from skep.api.sockets.handlers import TcpHandler, UdpHandler


@dataclass(frozen=True)
class TcpListener:
    """A TCP port, or a unix socket if `unix` is a path, whose connections `handler` serves.

    `framing` cuts what comes in into frames. A connection that says nothing for `first_byte`
    seconds, or goes without a whole frame for `idle` seconds later on (None: for ever), is closed.
    `connections` is how many one worker has at a time; those beyond are closed at once.

    With `tls=True` it is served over TLS with the certificate of the platform (--tls-cert), with
    `tls_cert` with one of its own: a file (PEM) with the chain and, if it is not in that file, one
    with the key, `tls_key`.
    """

    handler: type[TcpHandler]
    port: int = 0
    host: str = "127.0.0.1"
    unix: str = ""
    framing: Framing = field(default_factory=Lines)
    first_byte: float | None = 10.0
    idle: float | None = 300.0
    connections: int = 1000
    name: str = ""
    tls: bool = False
    tls_cert: str = ""
    tls_key: str = ""

    scheme: ClassVar[Literal["tcp"]] = "tcp"

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class UdpListener:
    """A UDP port whose packets `handler` takes.

    `concurrency` is how many packets one worker handles at a time; what is beyond waits in the
    kernel, which drops packets when its buffer is full.
    """

    handler: type[UdpHandler]
    port: int = 0
    host: str = "127.0.0.1"
    concurrency: int = 100
    name: str = ""

    scheme: ClassVar[Literal["udp"]] = "udp"
    unix: ClassVar[str] = ""
    tls: ClassVar[bool] = False
    tls_cert: ClassVar[str] = ""
    tls_key: ClassVar[str] = ""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class HttpListener:
    """An HTTP port of its own, or a unix socket, for an ASGI application or for routes.

    `tls`, `tls_cert` and `tls_key` are those of `TcpListener`.
    """

    app: ASGIApp | Sequence[BaseRoute]
    port: int = 0
    host: str = "127.0.0.1"
    unix: str = ""
    name: str = ""
    tls: bool = False
    tls_cert: str = ""
    tls_key: str = ""

    scheme: ClassVar[Literal["http"]] = "http"

    def __post_init__(self) -> None:
        _check(self)


SocketListener = TcpListener | UdpListener | HttpListener


def _check(listener: SocketListener) -> None:
    port, unix = listener.port, listener.unix
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise PlatformError(f"A listener has port = {port!r}; it takes a number from 0 to 65535.")
    if unix and port:
        raise PlatformError(f"A listener has both port = {port} and unix = {unix!r}; give one.")
    if listener.tls_key and not listener.tls_cert:
        raise PlatformError(f"A listener has tls_key = {listener.tls_key!r} without a tls_cert.")
