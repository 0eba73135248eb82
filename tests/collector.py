"""A collector of spans on the loopback: it takes OTLP over HTTP and keeps what it was sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from tests.support import PATIENCE, wait_until

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")


@dataclass(frozen=True)
class Collected:
    """One span; ids are hexadecimal, `links` are those of other spans. `start`, `end` and the
    times of `events` are in epoch seconds."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: list[str]
    attributes: dict[str, Any]
    events: dict[str, float]
    start: float
    end: float
    failed: bool
    resource: dict[str, Any]


class Collector:
    """What was sent, in the order of its arrival."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Collected] = []
        self.headers: list[dict[str, str]] = []

    def find(self, name: str, **attributes: Any) -> list[Collected]:
        """Return the spans with this name and these attributes; `__` stands for a dot."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            span
            for span in list(self.spans)
            if span.name == name and wanted.items() <= span.attributes.items()
        ]

    def wait(self, name: str, count: int = 1, **attributes: Any) -> list[Collected]:
        """Wait until so many such spans have come; return all of them."""
        try:
            wait_until(lambda: len(self.find(name, **attributes)) >= count, PATIENCE)
        except AssertionError as error:
            names = sorted({span.name for span in self.spans})
            raise AssertionError(f"no {name} {attributes} among {names}: {error}") from error
        return self.find(name, **attributes)

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_collected(span, resource) for span in scope.spans]


def _collected(span: Sent, resource: dict[str, Any]) -> Collected:
    return Collected(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.span_id.hex() for link in span.links],
        _values(span.attributes),
        {event.name: event.time_unix_nano / 1e9 for event in span.events},
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        span.status.code == span.status.STATUS_CODE_ERROR,
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens on a free port while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces", self.path
            made.headers.append(dict(self.headers.items()))
            made.take(self.rfile.read(int(self.headers["content-length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made = Collector(f"http://127.0.0.1:{server.server_port}")
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield made
        finally:
            server.shutdown()
            serving.join()
