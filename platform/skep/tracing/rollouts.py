"""Spans of rollouts and of changes of the configuration, made of the history of operations.

A change of the configuration lasts from its announcement, or its pull, until it is applied or
refused; the rollout is a part of it. Keys and values are in no span.
"""

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode, Tracer

from skep.base.logs.log import excerpt

# What is done to the generation that serves.
_ROLLOUTS = ("start", "config", "code", "certificate", "reload", "rollback")
_FAILED = ("refused", "rolled back")
_LONGEST_REASON = 500


class RolloutSpans:
    """Exports operations that are over."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def export(self, operation: Mapping[str, Any]) -> None:
        """Make the spans of an operation, if it is a rollout that has changed something or was
        refused."""
        what, outcome = operation["what"], operation["outcome"]
        if what not in _ROLLOUTS or (outcome == "unchanged" and what != "config"):
            return
        context = Context()
        change = self._change(operation) if what == "config" and operation["pulled"] else None
        if change is not None:
            context = trace.set_span_in_context(change, context)
        began = operation["began"]
        rollout = self._tracer.start_span(
            f"rollout {what}", context, attributes=_attributes(operation), start_time=_ns(began)
        )
        for phase in operation["phases"]:
            seconds = phase["seconds"]
            rollout.add_event(phase["name"], {"skep.seconds": seconds}, _ns(began))
            began += seconds
        _end(rollout, outcome, operation["ended"])
        if change is not None:
            _end(change, outcome, operation["ended"])

    def _change(self, operation: Mapping[str, Any]) -> Span:
        moments = {
            name: operation[name] for name in ("notified", "pulled", "written") if operation[name]
        }
        span = self._tracer.start_span(
            "config change",
            Context(),
            attributes=_attributes(operation),
            start_time=_ns(min(moments.values())),
        )
        for name, moment in moments.items():
            span.add_event(name, timestamp=_ns(moment))
        if operation["outcome"] in ("committed", "live"):
            span.add_event("applied", timestamp=_ns(operation["ended"]))
        return span


def _attributes(operation: Mapping[str, Any]) -> dict[str, str | int]:
    return {
        "skep.operation": operation["id"],
        "skep.cause": operation["what"],
        "skep.reason": excerpt(operation["reason"], _LONGEST_REASON),
        "skep.generation": operation["generation"] or 0,
        "skep.outcome": operation["outcome"],
    }


def _end(span: Span, outcome: str, moment: float) -> None:
    if outcome in _FAILED:
        span.set_attribute("error.type", outcome)
        span.set_status(StatusCode.ERROR)
    span.end(_ns(moment))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
