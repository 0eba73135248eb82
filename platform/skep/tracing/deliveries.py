"""Producer spans: what is delivered carries the trace of its own delivery."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from skep.tracing.context import TRACEPARENT, traceparent

SYSTEM = "skep"


class TracedEngine:
    """An engine whose `put` is a span."""

    def __init__(self, engine: Any, tracer: Tracer) -> None:
        self._engine = engine
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def put(self, envelopes: Sequence[Any]) -> Any:
        """Put envelopes; they carry the span's traceparent in place of the request's."""
        with self._tracer.start_as_current_span(
            _name(envelopes),
            kind=SpanKind.PRODUCER,
            attributes=_attributes(envelopes),
            # Its text may hold what no span may show.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if carried := traceparent(span):
                envelopes = [
                    replace(one, headers={**one.headers, TRACEPARENT: carried}) for one in envelopes
                ]
            try:
                return await self._engine.put(envelopes)
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise


def _name(envelopes: Sequence[Any]) -> str:
    names = {one.name for one in envelopes}
    return f"send {names.pop()}" if len(names) == 1 else "send"


def _attributes(envelopes: Sequence[Any]) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": SYSTEM,
        "messaging.operation.type": "send",
        "messaging.operation.name": "put",
    }
    queues = {one.queue for one in envelopes}
    if len(queues) == 1:
        attributes["messaging.destination.name"] = queues.pop()
    if len(envelopes) == 1:
        attributes["messaging.message.id"] = envelopes[0].id
    else:
        attributes["messaging.batch.message_count"] = len(envelopes)
    return attributes
