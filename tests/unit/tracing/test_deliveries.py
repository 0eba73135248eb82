"""Spans of deliveries and of their runs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from skep.base.errors import QueueFull
from skep.base.logs import correlation, log
from skep.base.telemetry import Telemetry
from skep.engine.contract import Envelope
from skep.tracing.deliveries import TracedEngine
from skep.tracing.runs import RunSpans
from tests.unit.tracing.memory import tracer


class Shelf:
    """An engine that keeps what is put."""

    def __init__(self, full: bool = False) -> None:
        self.kept: list[Envelope] = []
        self.full = full
        self.depth = 7

    async def put(self, envelopes: Sequence[Envelope]) -> list[str]:
        if self.full:
            raise QueueFull("hunter2")
        self.kept += envelopes
        return [one.id for one in envelopes]


def envelope(number: int = 1, **headers: str) -> Envelope:
    return Envelope(f"id-{number}", "shop.Pack", b'"hunter2"', "parcels", headers)


def parent_of(traceparent: str) -> str:
    return traceparent.split("-")[2]


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def test_a_delivery_is_a_producer_span_and_its_envelope_carries_it() -> None:
    made, finished = tracer()
    shelf = Shelf()
    engine = TracedEngine(shelf, made)
    before = envelope(traceparent="00-old", request_id="r")
    assert asyncio.run(engine.put([before])) == ["id-1"]
    (span,) = finished()
    assert span.name == "send shop.Pack"
    assert span.kind is trace.SpanKind.PRODUCER
    assert dict(span.attributes or {}) == {
        "messaging.system": "skep",
        "messaging.operation.type": "send",
        "messaging.operation.name": "put",
        "messaging.destination.name": "parcels",
        "messaging.message.id": "id-1",
    }
    assert parent_of(shelf.kept[0].headers["traceparent"]) == span_id(span)
    assert shelf.kept[0].headers["request_id"] == "r"
    assert before.headers["traceparent"] == "00-old"
    assert engine.depth == 7


def test_a_batch_is_one_span() -> None:
    made, finished = tracer()
    shelf = Shelf()
    asyncio.run(TracedEngine(shelf, made).put([envelope(1), envelope(2)]))
    (span,) = finished()
    assert dict(span.attributes or {})["messaging.batch.message_count"] == 2
    assert {parent_of(one.headers["traceparent"]) for one in shelf.kept} == {span_id(span)}


def test_a_delivery_that_is_refused_fails_its_span_without_its_text() -> None:
    made, finished = tracer()
    with pytest.raises(QueueFull):
        asyncio.run(TracedEngine(Shelf(full=True), made).put([envelope()]))
    (span,) = finished()
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "QueueFull"
    assert "hunter2" not in span.to_json()


def run(telemetry: Telemetry, carried: str, outcome: str = "success", **ended: Any) -> None:
    async def handle() -> None:
        with correlation.correlated({"traceparent": carried} if carried else {}):
            telemetry.point(
                "task.began",
                envelope=envelope(traceparent=carried),
                id="id-1",
                task="shop.Pack",
                event="",
                attempt=2,
            )
            assert trace.get_current_span().get_span_context().is_valid
            assert "trace_id" in log.bound_fields()
            telemetry.point("task.ended", outcome=outcome, **ended)

    asyncio.run(handle())


def test_a_run_continues_the_trace_of_its_delivery_and_is_linked_to_it() -> None:
    made, finished = tracer()
    telemetry, shelf = Telemetry(), Shelf()
    RunSpans(made, telemetry)
    asyncio.run(TracedEngine(shelf, made).put([envelope()]))
    run(telemetry, shelf.kept[0].headers["traceparent"])
    sent, handled = finished()
    assert sent.context is not None
    assert handled.parent is not None
    assert handled.context is not None
    assert handled.context.trace_id == sent.context.trace_id
    assert handled.parent.span_id == sent.context.span_id
    assert [link.context.span_id for link in handled.links] == [sent.context.span_id]
    assert dict(handled.attributes or {}) == {
        "messaging.system": "skep",
        "messaging.operation.type": "process",
        "messaging.operation.name": "handle",
        "messaging.destination.name": "parcels",
        "messaging.message.id": "id-1",
        "skep.task": "shop.Pack",
        "skep.attempt": 2,
        "skep.outcome": "success",
    }


@pytest.mark.parametrize(
    ("outcome", "error", "code", "shown"),
    [
        ("failure", "KeyError", StatusCode.ERROR, "KeyError"),
        ("failure", "", StatusCode.ERROR, "failure"),
        ("timeout", "", StatusCode.ERROR, "timeout"),
        ("cancelled", "", StatusCode.UNSET, None),
        ("rejected", "Discard", StatusCode.UNSET, None),
    ],
)
def test_the_outcome_of_a_run(
    outcome: str, error: str, code: StatusCode, shown: str | None
) -> None:
    made, finished = tracer()
    telemetry = Telemetry()
    RunSpans(made, telemetry)
    run(telemetry, "", outcome, error=error)
    (span,) = finished()
    assert span.links == ()
    assert span.status.status_code is code
    assert dict(span.attributes or {}).get("error.type") == shown


def test_runs_beside_each_other_have_spans_of_their_own() -> None:
    made, finished = tracer()
    telemetry = Telemetry()
    RunSpans(made, telemetry)

    async def tick(name: str, begun: asyncio.Event, other: asyncio.Event) -> None:
        with telemetry.span("cron.finished", cron=name) as fields:
            telemetry.point("cron.started", cron=name, lag=0.5)
            begun.set()
            await other.wait()
            fields["outcome"] = name

    async def both() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(tick("one", one, two), tick("two", two, one))

    asyncio.run(both())
    found = {span.name: dict(span.attributes or {}) for span in finished()}
    assert found["cron one"]["skep.outcome"] == "one"
    assert found["cron two"]["skep.outcome"] == "two"
    assert found["cron two"]["skep.lag"] == 0.5
    assert {span.parent for span in finished()} == {None}
