"""Spans of the runs of tasks, listeners and crons, made of telemetry points.

Each run is an asyncio task of its own, so its context is the run's: the span is made current there
at the first point, and nothing has to undo that.
"""

from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer

from skep.base.logs import correlation
from skep.base.telemetry import Telemetry
from skep.tracing.context import parent_in, traceparent
from skep.tracing.deliveries import SYSTEM

# What a span says of an outcome that is not a failure.
_FINE = ("success", "rejected", "cancelled")

_run: ContextVar[Span] = ContextVar("skep_run", default=trace.INVALID_SPAN)


class RunSpans:
    """Subscribes to the points at which runs begin and end."""

    def __init__(self, tracer: Tracer, telemetry: Telemetry) -> None:
        self._tracer = tracer
        telemetry.subscribe("task.began", self._task_began)
        telemetry.subscribe("task.ended", _ended)
        telemetry.subscribe("cron.started", self._cron_started)
        telemetry.subscribe("cron.finished", _ended)

    def _task_began(self, fields: dict[str, Any]) -> None:
        """Continue the trace of the delivery, and link to it."""
        envelope, name = fields["envelope"], fields["task"]
        parent = parent_in(envelope.headers)
        sent = trace.get_current_span(parent).get_span_context()
        attributes: dict[str, str | int] = {
            "messaging.system": SYSTEM,
            "messaging.operation.type": "process",
            "messaging.operation.name": "handle",
            "messaging.destination.name": envelope.queue,
            "messaging.message.id": fields["id"],
            "skep.attempt": fields["attempt"],
        }
        if event := fields["event"]:
            attributes |= {"skep.event": event, "skep.listener": name}
        else:
            attributes["skep.task"] = name
        _enter(
            self._tracer.start_span(
                f"process {name}",
                parent,
                SpanKind.CONSUMER,
                attributes,
                [Link(sent)] if sent.is_valid else (),
            )
        )

    def _cron_started(self, fields: dict[str, Any]) -> None:
        attributes = {"skep.cron": fields["cron"], "skep.lag": round(fields["lag"], 6)}
        span = self._tracer.start_span(f"cron {fields['cron']}", Context(), attributes=attributes)
        _enter(span)


def _enter(span: Span) -> None:
    _run.set(span)
    attach(trace.set_span_in_context(span))
    if carried := traceparent(span):
        correlation.join(carried)


def _ended(fields: dict[str, Any]) -> None:
    span, outcome = _run.get(), fields["outcome"]
    span.set_attribute("skep.outcome", outcome)
    if outcome not in _FINE:
        span.set_attribute("error.type", fields.get("error") or outcome)
        span.set_status(StatusCode.ERROR)
    span.end()
