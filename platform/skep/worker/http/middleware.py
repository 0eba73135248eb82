"""One request and its answer, as the edge of a web worker sees them."""

import logging
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Mount

from skep.base.errors import QueueFull, StoreFull, StoreUnavailable
from skep.base.logs import correlation
from skep.config.env.settings import pin
from skep.metrics.web import UNMATCHED
from skep.worker.http.access_log import Access, AccessLog
from skep.worker.http.coalesced_writes import HEADER, ID_IN_SCOPE
from skep.worker.http.request_head import CONTROL

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skep.metrics.web import HttpMetrics

log = logging.getLogger(__name__)

# What is counted when the client went away while its body was still awaited.
CLIENT_GONE = 499
_TRACE = b"traceparent"
_TELLING = frozenset((HEADER, _TRACE, b"content-length", b"transfer-encoding", b"expect"))
# What the application may say of the connection is `close`; the request's name is the edge's.
_REPLACED = frozenset((b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", HEADER))
_CLOSE = (b"connection", b"close")
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_FAILED = (500, b"Internal Server Error", b"")
# What a handler did not catch although it is nobody's mistake and passes: status, text, and after
# how many seconds to try again.
_PASSING = {
    QueueFull: (503, b"Service Unavailable", b"1"),
    StoreUnavailable: (503, b"Service Unavailable", b"1"),
    StoreFull: (507, b"Insufficient Storage", b"30"),
}
_UNANSWERED, _ANSWERING, _ANSWERED = range(3)


@dataclass
class Common:
    """What the exchanges of one worker share. While `draining`, every answer is the last of its
    connection. `served` is called when one is over. Bodies have `max_body` bytes unless the route
    says otherwise."""

    app: "ASGIApp"
    metrics: "HttpMetrics"
    served: Callable[[], None]
    max_body: int
    access_log: AccessLog | None = None
    draining: bool = False

    def __post_init__(self) -> None:
        self.app_with_body = RequestBodyLimitMiddleware(self.app, self.max_body)


class Exchange:
    """From the head of a request to the end of its answer; the background work after it too."""

    __slots__ = ("_common", "_gone", "_head", "_id", "_last", "_receive", "_scope", "_send",
                 "_stage", "_start", "_status")  # fmt: skip

    def __init__(self, common: Common, scope: "Scope", receive: "Receive", send: "Send") -> None:
        self._common = common
        self._scope = scope
        self._receive = receive
        self._send = send
        self._start = time.perf_counter()
        self._status = 500
        self._stage = _UNANSWERED
        self._gone = self._last = False

    async def run(self) -> None:
        """Serve the request. What no handler caught is counted, logged and answered with 500, or
        with 503 or 507 when the store or a queue takes nothing for a while."""
        common, scope = self._common, self._scope
        has_body = self._read_headers()
        scope.setdefault("state", {})["request_id"] = scope[ID_IN_SCOPE] = self._id
        pin()
        common.metrics.begin()
        try:
            if has_body:
                await common.app_with_body(scope, self._hear, self._answer)
            else:
                await common.app(scope, self._receive, self._answer)
        except ClientDisconnect:
            self._status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001 - counted and logged there
            await self._fail(error)
        finally:
            if self._stage is not _ANSWERED:
                self._end()
            common.served()

    async def _fail(self, error: Exception) -> None:
        """Make the best of an exception. Half an answer is left to uvicorn, which closes the
        connection, so that the client knows; and so is an answer whose head cannot be sent, for
        which `Joined` sends 500."""
        scope = self._scope
        self._common.metrics.exception(_route(scope))
        if self._stage is _ANSWERING:
            if ID_IN_SCOPE in scope:
                self._status = 500
                log.error("%s %s failed: %s", scope["method"], _route(scope), _fault(self._head))
            raise error
        status, text, wait = _outcome(error)
        if wait:
            log.warning("%s %s failed: %s", scope["method"], _route(scope), error)
        else:
            log.error("%s %s failed", scope["method"], _route(scope), exc_info=error)
        if self._stage is _UNANSWERED:
            self._last = True
            headers = [_PLAIN, (b"content-length", b"%d" % len(text))]
            headers += [(b"retry-after", wait)] if wait else []
            await self._answer(
                {"type": "http.response.start", "status": status, "headers": headers}
            )
            await self._answer({"type": "http.response.body", "body": text})

    def _read_headers(self) -> bool:
        """Name the request; say whether it has a body."""
        given = trace = ""
        has_body = False
        for name, value in self._scope["headers"]:
            if name in _TELLING:
                if name == HEADER:
                    given = value.decode("latin-1")
                elif name == _TRACE:
                    trace = value.decode("latin-1")
                elif name == b"expect":
                    # If it is answered without the body having been asked for, nobody can tell
                    # whether what comes next is that body or another request.
                    self._last = True
                else:
                    has_body = True
        self._id = correlation.begin(given, trace)
        return has_body

    async def _hear(self) -> "Message":
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    def _answer(self, message: "Message") -> Awaitable[None]:
        # No coroutine of its own: each costs half a microsecond, and every message passes here.
        if message["type"] == "http.response.start":
            self._stage = _ANSWERING
            if message["status"] == 500:
                message = _passing(message)
            self._status = CLIENT_GONE if self._gone else message["status"]
            self._head = message = self._fit(message)
        elif not message.get("more_body"):
            self._end()
        return self._send(message)

    def _fit(self, message: "Message") -> "Message":
        """Return the head without what the application may not say, and with what it must."""
        headers = message.get("headers", ())
        is_last = self._common.draining or self._last
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

    def _end(self) -> None:
        self._stage = _ANSWERED
        scope, common = self._scope, self._common
        seconds = time.perf_counter() - self._start
        common.metrics.end(scope["method"], _route(scope), self._status, seconds)
        if common.access_log is not None:
            client = scope["client"]
            common.access_log.note(
                Access(
                    method=scope["method"],
                    path=scope["path"],
                    status=self._status,
                    seconds=seconds,
                    client=client[0] if client else "",
                    request_id=self._id,
                )
            )


def _outcome(error: BaseException | None) -> tuple[int, bytes, bytes]:
    """Return the status, the text and the Retry-After for what a handler raised."""
    found = (answer for cls, answer in _PASSING.items() if isinstance(error, cls))
    return next(found, _FAILED)


def _passing(message: "Message") -> "Message":
    """Return the head of a 500 as it should be: an application that is mounted answers by itself,
    while it handles what its handler raised."""
    status, _, wait = _outcome(sys.exc_info()[1])
    if not wait:
        return message
    headers = [*message.get("headers", ()), (b"retry-after", wait)]
    return {**message, "status": status, "headers": headers}


def _fault(head: "Message") -> str:
    """Return why the head of an answer cannot be sent."""
    for name, value in head["headers"]:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            return f"the answer's header {name!r} is not bytes"
        if CONTROL.search(name) or CONTROL.search(value):
            return f"the answer's header {name!r} has a line break or another control character"
    return "the head of the answer cannot be sent"


def _route(scope: "Scope") -> str:
    """The template of the matched route, never the path: its values would be without number."""
    route = scope.get("route")
    if route is None:
        return UNMATCHED
    root: str = scope.get("root_path", "")
    # Starlette's name for what stood there before the first mount: the prefix of a proxy.
    prefix = root[len(scope.get("app_root_path", root)) :] if root else ""
    if isinstance(route, Mount):
        return f"{prefix}/*"  # the prefix holds the mount's own path already
    return prefix + str(getattr(route, "path", ""))
