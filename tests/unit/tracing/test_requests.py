"""Server spans of requests."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from skep.tracing.requests import TracedRequests
from tests.unit.tracing.memory import tracer

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = (b"traceparent", f"00-{TRACE}-{CALLER}-01".encode())

App = Callable[..., Any]


async def drop(message: Any) -> None: ...


async def silence() -> Any: ...


def answering(status: int, *parts: bytes) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = SimpleNamespace(path="/bees/{id}")
        await send({"type": "http.response.start", "status": status})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def ask(app: App, *headers: tuple[bytes, bytes], **scope: Any) -> tuple[ReadableSpan, Any]:
    """Send one request through; return its span and the scope that the application got."""
    made, finished = tracer()
    asked = {
        "type": "http",
        "method": "GET",
        "path": "/bees/7",
        "query_string": b"key=hunter2",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 5200),
        "client": ("10.0.0.7", 1234),
        "headers": [(b"host", b"shop"), (b"cookie", b"hunter2"), *headers],
        **scope,
    }

    traced = TracedRequests(app, made, lambda scope: str(scope["route"].path))
    with suppress(RuntimeError):
        asyncio.run(traced(asked, silence, drop))
    (span,) = finished()
    return span, asked


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_span_has_what_the_conventions_ask_for_and_no_header_or_query() -> None:
    span, _ = ask(answering(200, b"honey"))
    assert span.name == "GET /bees/{id}"
    assert span.kind is trace.SpanKind.SERVER
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/bees/{id}",
        "http.response.status_code": 200,
        "url.path": "/bees/7",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": 5200,
        "client.address": "10.0.0.7",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert "hunter2" not in span.to_json()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(404, StatusCode.UNSET, None), (503, StatusCode.ERROR, "503")],
)
def test_only_what_the_server_failed_at_is_an_error(
    status: int, code: StatusCode, error: str | None
) -> None:
    span, _ = ask(answering(status))
    assert span.status.status_code is code
    assert attributes(span).get("error.type") == error


def test_an_exception_that_is_answered_gives_its_type() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise LookupError("hunter2")
        except LookupError:
            await answering(500)(scope, receive, send)

    span, _ = ask(app)
    assert attributes(span)["error.type"] == "LookupError"
    assert "hunter2" not in span.to_json()


def test_an_exception_in_the_middle_of_an_answer_is_an_error_of_its_type() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise RuntimeError("hunter2")

    span, _ = ask(app)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "RuntimeError"
    assert span.events == ()


def test_a_client_that_went_away_is_no_error_of_the_server() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    span, _ = ask(app)
    assert span.name == "GET"
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["error.type"] == "client_disconnected"


def test_a_method_that_is_not_known_makes_no_name_of_its_own() -> None:
    span, _ = ask(answering(200), method="FROBNICATE")
    assert span.name == "HTTP /bees/{id}"
    assert attributes(span)["http.request.method"] == "_OTHER"
    assert attributes(span)["http.request.method_original"] == "FROBNICATE"


def test_the_application_gets_the_header_of_the_span_and_it_is_current_there() -> None:
    seen: list[trace.SpanContext] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(trace.get_current_span().get_span_context())
        await answering(200)(scope, receive, send)

    span, scope = ask(app, TRACEPARENT, (b"tracestate", b"bees=1"))
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == CALLER
    assert span.context.trace_state.get("bees") == "1"
    assert seen[0].span_id == span.context.span_id
    carried = [value for name, value in scope["headers"] if name == b"traceparent"]
    assert carried == [f"00-{TRACE}-{span.context.span_id:016x}-01".encode()]


@pytest.mark.parametrize(
    "headers",
    [
        [TRACEPARENT, TRACEPARENT],
        [(b"traceparent", b"00-0-0-01")],
        [(b"traceparent", b"00-\xff")],
        [(b"tracestate", b"bees=1")],
    ],
)
def test_a_trace_that_is_not_clear_is_not_continued(headers: list[tuple[bytes, bytes]]) -> None:
    span, _ = ask(answering(200), *headers)
    assert span.parent is None


def test_the_span_ends_with_the_answer_and_not_with_what_follows_it() -> None:
    made, finished = tracer()
    ended: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(200)(scope, receive, send)
        ended.append(len(finished()))

    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []}
    scope |= {"http_version": "1.1"}
    traced = TracedRequests(app, made, lambda scope: "/")
    asyncio.run(traced(scope, silence, drop))
    assert ended == [1]


def test_a_websocket_is_left_alone() -> None:
    made, finished = tracer()
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send)

    asyncio.run(TracedRequests(app, made, str)({"type": "websocket"}, silence, drop))
    assert seen == [drop]
    assert finished() == []
