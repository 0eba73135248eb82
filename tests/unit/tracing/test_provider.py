"""OpenTelemetry's SDK as the platform sets it up."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from skep.tracing.provider import FLUSH, Provider, Rarely
from skep.worker.loading.environ import Environ
from tests.collector import collector


class Stuck(SpanExporter):
    """A collector that takes the connection and never answers."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.began = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.began.set()
        self.released.wait()
        return SpanExportResult.FAILURE


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.released.set()


def resource(exporter: InMemorySpanExporter) -> Resource:
    provider = Provider("shop", "here/1", "web.0", exporter)
    provider.tracer.start_span("one").end()
    asyncio.run(provider.close())
    return exporter.get_finished_spans()[0].resource


def test_the_service_is_the_app_unless_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = resource(InMemorySpanExporter()).attributes
    assert found["service.name"] == "shop"
    assert found["service.instance.id"] == "here/1"
    assert found["skep.slot"] == "web.0"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=bees,service.name=hive")
    found = resource(InMemorySpanExporter()).attributes
    assert (found["service.name"], found["team"]) == ("hive", "bees")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "apiary")
    assert resource(InMemorySpanExporter()).attributes["service.name"] == "apiary"


def test_the_last_spans_are_sent_at_the_end() -> None:
    with collector() as collected:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
            provider = Provider("shop", "here/1", "web.0")
        provider.tracer.start_span("one").end()
        asyncio.run(provider.close())
        assert [span.name for span in collected.spans] == ["one"]


def test_the_end_waits_for_a_collector_that_does_not_answer_no_longer_than_it_says(
    stuck: Stuck,
) -> None:
    provider = Provider("shop", "here/1", "web.0", stuck)
    provider.tracer.start_span("one").end()
    began = time.monotonic()
    asyncio.run(provider.close())
    assert stuck.began.is_set()
    assert FLUSH <= time.monotonic() - began < 10 * FLUSH


def test_spans_that_cannot_be_sent_are_dropped_and_no_caller_waits(
    stuck: Stuck, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    provider = Provider("shop", "here/1", "web.0", stuck)
    for _ in range(1000):
        provider.tracer.start_span("one").end()
    assert len([one for one in caplog.messages if "spans are lost" in one]) <= 1


def test_a_failure_is_logged_once_in_ten_minutes() -> None:
    now = 0.0
    rarely = Rarely(lambda: now)

    def record() -> logging.LogRecord:
        return logging.LogRecord("otel", logging.ERROR, "", 1, "code: %s", (401,), None)

    first = record()
    assert rarely.filter(first)
    assert first.levelno == logging.WARNING
    assert first.getMessage() == "spans are lost while they cannot be sent: code: 401"
    now = 599.0
    assert not rarely.filter(record())
    now = 601.0
    assert rarely.filter(record())


def test_the_exporter_reads_no_keys_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was read cannot change without a new worker."""
    monkeypatch.setattr(os, "environ", Environ(os.environ))
    with collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        provider = Provider("shop", "here/1", "web.0")
        provider.tracer.start_span("one").end()
        asyncio.run(provider.close())
        assert collected.spans
    assert isinstance(os.environ, Environ)
    assert os.environ.was_read("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert not os.environ.was_read("SHOP_GREETING")


def test_a_provider_that_a_plugin_has_set_up_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = TracerProvider(shutdown_on_exit=False)
    for there, expected in ((theirs, []), (trace.ProxyTracerProvider(), ["ours"])):
        became: list[str] = []
        monkeypatch.setattr(trace, "get_tracer_provider", lambda there=there: there)
        monkeypatch.setattr(
            trace, "set_tracer_provider", lambda _, became=became: became.append("ours")
        )
        provider = Provider("shop", "here/1", "web.0", InMemorySpanExporter())
        provider.become_global()
        asyncio.run(provider.close())
        assert became == expected
