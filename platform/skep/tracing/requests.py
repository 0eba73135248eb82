"""Server spans of HTTP requests, by OpenTelemetry's semantic conventions.

A span begins where the application of the platform begins and ends with the last byte of the
answer. Its attributes hold no header, no query and no body.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from skep.base.logs.log import excerpt
from skep.tracing.context import TRACEPARENT, parent_in, traceparent

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KNOWN = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_CARRIED = {b"traceparent": TRACEPARENT, b"tracestate": "tracestate"}
_TRACEPARENT = TRACEPARENT.encode()
_LONGEST_PATH = 512


class TracedRequests:
    """Wraps an application; `route` returns the template of a matched route.

    The application gets the header `traceparent` of the span in place of the client's: what it
    delivers, logs or sends on belongs to the span.
    """

    def __init__(self, app: "ASGIApp", tracer: Tracer, route: "Callable[[Scope], str]") -> None:
        self.app = app
        self.tracer = tracer
        self.route = route

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(self, scope, send)
        try:
            await self.app(scope, receive, request.answer)
        except BaseException as error:
            request.failed(error)
            raise
        finally:
            request.end()


class _Request:
    def __init__(self, traced: TracedRequests, scope: "Scope", send: "Send") -> None:
        self._scope = scope
        self._send = send
        self._route = traced.route
        self._status = 0
        self._error = ""
        self._ended = False
        method = scope["method"] if scope["method"] in _KNOWN else "_OTHER"
        self._name = "HTTP" if method == "_OTHER" else method
        self._span = traced.tracer.start_span(
            self._name,
            parent_in(_carried(scope)),
            SpanKind.SERVER,
            _attributes(scope, method),
        )
        # Not detached: uvicorn runs each request in a context of its own.
        attach(trace.set_span_in_context(self._span))
        if carried := traceparent(self._span):
            headers = [header for header in scope["headers"] if header[0] != _TRACEPARENT]
            scope["headers"] = [*headers, (_TRACEPARENT, carried.encode())]

    async def answer(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            # The platform answers an exception of the application while it handles it.
            self._error = _name(sys.exc_info()[1])
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.end()

    def failed(self, error: BaseException) -> None:
        """The application has raised an exception that it did not answer."""
        self._error = _name(error)
        if not self._ended:
            self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        span = self._span
        if self._scope.get("route") is not None:
            route = self._route(self._scope)
            span.update_name(f"{self._name} {route}")
            span.set_attribute("http.route", route)
        if self._status:
            span.set_attribute("http.response.status_code", self._status)
        else:
            self._error = self._error or "client_disconnected"
        if self._status >= 500:
            span.set_status(StatusCode.ERROR)
            self._error = self._error or str(self._status)
        if self._error:
            span.set_attribute("error.type", self._error)
        span.end()


def _carried(scope: "Scope") -> dict[str, str]:
    """Return the headers of the client's trace; none if it names two."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if (carried := _CARRIED.get(name)) is not None:
            if name == _TRACEPARENT and carried in found:
                return {}
            found[carried] = value.decode("latin-1")
    return found


def _attributes(scope: "Scope", method: str) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.scheme": scope["scheme"],
        "url.path": excerpt(scope["path"], _LONGEST_PATH),
        "network.protocol.version": scope["http_version"],
    }
    if method == "_OTHER":
        attributes["http.request.method_original"] = scope["method"]
    if (server := scope.get("server")) and server[1]:
        attributes |= {"server.address": server[0], "server.port": server[1]}
    if client := scope.get("client"):
        attributes["client.address"] = client[0]
    return attributes


def _name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__qualname__
