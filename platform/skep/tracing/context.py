"""W3C Trace Context: where a trace comes from, and what is carried on."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def parent_in(carried: Mapping[str, str]) -> Context:
    """Return the context of the trace that these headers carry, an empty one if they carry none."""
    return _PROPAGATOR.extract(carried, Context()) if carried else Context()


def traceparent(span: Span) -> str:
    """Return the header that continues this span's trace; empty if the SDK is switched off."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    # Written here: the propagator takes several times as long, and each request needs it.
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
