"""The outermost ASGI application of a web worker: it names, measures and bounds each request.

While the worker drains, every response carries `Connection: close`. The registry of WebSockets
closes those.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.websockets import WebSocket

from skep.base.errors import QueueFull, StoreFull, StoreUnavailable
from skep.base.logs import correlation
from skep.config.env.settings import pin
from skep.config.options.table import Options
from skep.metrics.web import UNMATCHED
from skep.worker.http.access_log import AccessLog
from skep.worker.http.coalesced_writes import HEADER, ID_IN_SCOPE
from skep.worker.http.protocol import CLIENT_GONE, CONNECTION, UNSURE, HttpProtocol, NoConnection
from skep.worker.http.request_head import CONTROL

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skep.metrics.web import HttpMetrics

log = logging.getLogger(__name__)

_TRACE = b"traceparent"
_READ = frozenset((HEADER, _TRACE, b"content-length", b"transfer-encoding", b"expect"))
# What the application may set for the connection is `close`; the request's name is the edge's.
_REPLACED = frozenset((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", HEADER))
_CLOSE = (b"connection", b"close")
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_FAILED = (500, b"Internal Server Error", b"")
# Exceptions for passing conditions: status, text, and after how many seconds to try again.
_PASSING = {
    QueueFull: (503, b"Service Unavailable", b"1"),
    StoreUnavailable: (503, b"Service Unavailable", b"1"),
    StoreFull: (507, b"Insufficient Storage", b"30"),
}
_UNANSWERED, _ANSWERING, _ANSWERED = range(3)
_PORTS = {"http": 80, "https": 443}


class Edge:
    """Wraps an application; `served` is called after each request."""

    def __init__(
        self,
        app: "ASGIApp",
        metrics: "HttpMetrics",
        served: Callable[[], None],
        options: Options,
        access_log: AccessLog | None = None,
    ) -> None:
        self.app = app
        self.app_with_body = RequestBodyLimitMiddleware(app, options.max_body_size)
        self.metrics = metrics
        self.served = served
        self.access_log = access_log
        self.draining = False  # set: every answer is the last of its connection
        self._websockets = OriginCheck(app, options.websocket_origins)

    def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> Awaitable[None]:
        # No coroutine of its own, which every request would pay for.
        if scope["type"] == "http":
            return _Exchange(self, scope, receive, send).run()
        return self._websockets(scope, receive, send)


class _Exchange:
    """One request: from its head to the end of its answer, and the background work after it."""

    __slots__ = ("_connection", "_edge", "_head", "_id", "_last", "_receive", "_scope", "_send",
                 "_sent", "_stage", "_start", "_status", "_trace")  # fmt: skip

    def __init__(self, edge: Edge, scope: "Scope", receive: "Receive", send: "Send") -> None:
        self._edge = edge
        self._scope = scope
        self._receive = receive
        self._send = send
        self._connection: HttpProtocol | type[NoConnection] = scope.pop(CONNECTION, NoConnection)
        self._start = time.perf_counter()
        self._status = 500
        self._sent = 0
        self._stage = _UNANSWERED
        self._last = False

    async def run(self) -> None:
        """Serve the request. An exception that no handler caught is counted, logged and answered
        with 500, or with 503 or 507 while the store or a queue is full or out of reach."""
        edge, scope = self._edge, self._scope
        has_body = self._read_headers()
        scope.setdefault("state", {})["request_id"] = scope[ID_IN_SCOPE] = self._id
        pin()
        edge.metrics.begin()
        cut = ""
        try:
            await (edge.app_with_body if has_body else edge.app)(scope, self._receive, self._answer)
        except ClientDisconnect:
            if self._stage is _UNANSWERED:
                self._status = CLIENT_GONE
        except asyncio.CancelledError:
            cut = "drain" if edge.draining else ""
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - counted and logged there
            await self._fail(error)
        finally:
            if self._stage is not _ANSWERED:
                self._end(cut)
            edge.served()

    async def _fail(self, error: BaseException) -> None:
        """Answer an exception. uvicorn ends half an answer by closing the connection, so that the
        client notices. If the head of the answer cannot be sent, `CoalescedWrites` sends 500."""
        scope, route = self._scope, route_of(self._scope)
        self._edge.metrics.exception(route)
        if self._stage is _ANSWERING:
            if ID_IN_SCOPE in scope:
                self._status = 500
                log.error("%s %s failed: %s", scope["method"], route, _fault(self._head))
            raise error
        status, text, wait = _outcome(error)
        if wait:
            log.warning("%s %s failed: %s", scope["method"], route, error)
        else:
            log.error("%s %s failed", scope["method"], route, exc_info=error)
        if self._stage is _UNANSWERED:
            self._last = True
            headers = [_PLAIN, (b"content-length", b"%d" % len(text))]
            headers += [(b"retry-after", wait)] if wait else []
            await self._answer(
                {"type": "http.response.start", "status": status, "headers": headers}
            )
            await self._answer({"type": "http.response.body", "body": text})

    def _read_headers(self) -> bool:
        """Name the request; return whether it has a body."""
        given = trace = ""
        has_body = False
        for name, value in self._scope["headers"]:
            if name in _READ:
                if name == HEADER:
                    given = value.decode("latin-1")
                elif name == _TRACE:
                    trace = value.decode("latin-1")
                elif name == b"expect":
                    # After an answer before the body was asked for, what comes next may be that
                    # body or another request.
                    self._last = True
                else:
                    has_body = True
        self._id = correlation.begin(given, trace)
        self._trace = correlation.trace_id() if trace else ""
        return has_body

    def _answer(self, message: "Message") -> Awaitable[None]:
        # No coroutine of its own: each costs half a microsecond, and every message passes here.
        if message["type"] == "http.response.start":
            self._stage = _ANSWERING
            if message["status"] == 500:
                message = _passing(message)
            self._status = self._connection.cut_status or message["status"]
            self._head = message = self._fit(message)
        else:
            self._sent += len(message.get("body", b""))
            if not message.get("more_body"):
                self._end()
        return self._send(message)

    def _fit(self, message: "Message") -> "Message":
        """Return the head without forbidden headers, and with `Connection: close` if it is the
        last."""
        headers = message.get("headers", ())
        is_last = self._edge.draining or self._last
        if not is_last and type(headers) is list:  # what can be read only once has to be copied
            for name, _ in headers:
                if name in _REPLACED:
                    break
            else:
                return message
        kept = [h for h in headers if h[0] not in _REPLACED]
        if is_last:
            kept = [h for h in kept if h[0] != b"connection"]
            kept.append(_CLOSE)
        return {**message, "headers": kept}

    def _end(self, cut: str = "") -> None:
        seconds = time.perf_counter() - self._start
        connection = self._connection
        if cut or connection.cut_by:
            cut = cut or connection.cut_by
            if cut == UNSURE:
                connection.verdict = partial(self._count_late, seconds)
                self._stage = _ANSWERED
                return
            if self._stage is _UNANSWERED or connection.half_closed:
                self._status = connection.cut_status or self._status
            self._edge.metrics.aborted(cut)
        self._count(seconds)

    def _count_late(self, seconds: float, cut: str) -> None:
        """Count when it is known whether the client was still there for the head."""
        if cut:
            self._status = CLIENT_GONE
            self._edge.metrics.aborted(cut)
        self._count(seconds)

    def _count(self, seconds: float) -> None:
        self._stage = _ANSWERED
        scope, edge = self._scope, self._edge
        method = scope["method"]
        edge.metrics.end(
            method,
            route_of(scope),
            self._status,
            seconds,
            self._connection.received,
            0 if method == "HEAD" else self._sent,
            self._trace,
        )
        if edge.access_log is not None:
            client = scope["client"]
            edge.access_log.note(
                status=self._status,
                method=method,
                path=scope["path"],
                seconds=seconds,
                client=client[0] if client else "",
                request_id=self._id,
            )


def _outcome(error: BaseException | None) -> tuple[int, bytes, bytes]:
    """Return status, text and Retry-After for an exception of a handler."""
    found = (answer for cls, answer in _PASSING.items() if isinstance(error, cls))
    return next(found, _FAILED)


def _passing(message: "Message") -> "Message":
    """Return the right head for a 500: a mounted application answers by itself, while it handles
    the exception of its handler."""
    status, _, wait = _outcome(sys.exc_info()[1])
    if not wait:
        return message
    headers = [*message.get("headers", ()), (b"retry-after", wait)]
    return {**message, "status": status, "headers": headers}


def _fault(head: "Message") -> str:
    for name, value in head["headers"]:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            return f"the answer's header {name!r} is not bytes"
        if CONTROL.search(name) or CONTROL.search(value):
            return f"the answer's header {name!r} has a line break or another control character"
    return "the head of the answer cannot be sent"


def route_of(scope: "Scope") -> str:
    """Return the template of the matched route, never the path: there are too many paths for a
    label."""
    route = scope.get("route")
    if route is None:
        return UNMATCHED
    root: str = scope.get("root_path", "")
    # Starlette's name for what stood there before the first mount: the prefix of a proxy.
    prefix = root[len(scope.get("app_root_path", root)) :] if root else ""
    if isinstance(route, Mount):
        return f"{prefix}/*"  # the prefix holds the mount's own path already
    return prefix + str(getattr(route, "path", ""))


class OriginCheck:
    """Wraps the application that WebSockets reach; pages of other sites get 403.

    A browser lets any page open a WebSocket to any server, with the user's cookies for that server;
    a page can read no other request without the server's consent. The browser reports in `Origin`
    where the page is from. `origins` are allowed beside the site itself, as `https://shop.example`;
    `*` is every page.
    """

    def __init__(self, app: "ASGIApp", origins: Sequence[str]) -> None:
        self._app = app
        self._every = "*" in origins
        self._origins = frozenset(map(_canonical, origins))

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        # No program but a browser sends one. A header of a proxy's is here only if it is trusted.
        host = headers.get(b"x-forwarded-host") or headers.get(b"host", b"")
        if not origin or self._every or self._is_allowed(origin, host.decode("latin-1")):
            await self._app(scope, receive, send)
            return
        text = f"Pages of {origin[:200]} may not open WebSockets here: see "
        refusal = PlainTextResponse(f"{text}PLATFORM_WEBSOCKET_ORIGINS.\n", status_code=403)
        await WebSocket(scope, receive, send).send_denial_response(refusal)

    def _is_allowed(self, origin: str, host: str) -> bool:
        canonical = _canonical(origin)
        scheme = canonical.partition(":")[0]
        # The scheme is the page's: a proxy that speaks TLS may not report it.
        return canonical in self._origins or canonical == _canonical(f"{scheme}://{host}")


def _canonical(origin: str) -> str:
    """Return an origin with its port, in lower case; other text stays as it is."""
    try:
        parts = urlsplit(origin.lower())
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return origin.lower()
    return f"{parts.scheme}://{parts.hostname}:{port}"
