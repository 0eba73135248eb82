"""Spans that are kept in this process."""

from collections.abc import Callable, Coroutine
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

Finished = Callable[[], list[ReadableSpan]]
Work = Coroutine[Any, Any, None]


def tracer() -> tuple[Tracer, Finished]:
    """Return a tracer, and what returns the spans that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), lambda: list(exporter.get_finished_spans())
