"""OpenTelemetry's SDK, set up for one process: what makes spans, and what sends them.

A thread of the SDK sends them in batches. While the collector cannot be reached the newest wait in
a queue with a bound, and the others are dropped; the threads that make spans never wait.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk import _shared_internal
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

# How long (seconds) a process that ends waits for its last spans to be sent.
FLUSH = 1.0
# How often (seconds) one failure of the exporter is logged.
_AGAIN = 600.0


class Provider:
    """Makes the spans of one process with `tracer` and sends them.

    `service` is the name of the service unless OpenTelemetry's own variables give one, `instance`
    names this process, `slot` the slot it fills. The rest is in OpenTelemetry's own variables.
    """

    def __init__(
        self, service: str, instance: str, slot: str, exporter: SpanExporter | None = None
    ) -> None:
        _log_rarely()
        self._provider = TracerProvider(
            resource=_resource(service, instance, slot),
            shutdown_on_exit=False,  # it would wait for half a minute
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _exporter()))
        self.tracer = self._provider.get_tracer("skep")

    def become_global(self) -> None:
        """Make the spans of plugins nest in ours and be sent with them, unless a plugin has set up
        a provider of its own."""
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)

    async def close(self) -> None:
        """Send the last spans, for `FLUSH` seconds at most."""
        # The SDK waits for half a minute; a daemon thread does not outlive the process.
        closing = threading.Thread(target=self._provider.shutdown, name="otel-close", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, FLUSH)


def _exporter() -> OTLPSpanExporter:
    session = requests.Session()
    # Reading the environment as a whole would mark every key as read by this worker, and no change
    # of the configuration could be applied live.
    session.trust_env = False
    return OTLPSpanExporter(session=session)


def _resource(service: str, instance: str, slot: str) -> Resource:
    given = Resource.create()
    ours = {SERVICE_INSTANCE_ID: instance, "skep.slot": slot}
    if not os.environ.get("OTEL_SERVICE_NAME") and not _names_service():
        ours[SERVICE_NAME] = service
    return given.merge(Resource(ours))


def _names_service() -> bool:
    pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return any(pair.partition("=")[0].strip() == SERVICE_NAME for pair in pairs)


def _log_rarely() -> None:
    """Bound what the SDK logs: an exporter complains of each batch, a full queue of each span."""
    for module in (trace_exporter, _shared_internal):
        logger = logging.getLogger(module.__name__)
        logger.setLevel(logging.WARNING)
        if not any(isinstance(one, Rarely) for one in logger.filters):
            logger.addFilter(Rarely())


class Rarely(logging.Filter):
    """Passes one record every ten minutes, as a warning that also says what follows from it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._passed < _AGAIN:
            return False
        self._passed = now
        record.msg = f"spans are lost while they cannot be sent: {record.getMessage()}"
        record.args = ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
