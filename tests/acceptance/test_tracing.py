"""Spans of a running platform, as a collector gets them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.collector import Collected, Collector, collector
from tests.platform_process import ROOT, Platform
from tests.support import wait_until

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"

SHOP = """
import logging
from opentelemetry import trace
from skep import Event, Listener, Plugin, Task, cron
from starlette.responses import JSONResponse
from starlette.routing import Route

tracer = trace.get_tracer("shop")

class Pack(Task):
    number: int
    fails: bool = False

    async def handle(self, ctx):
        with tracer.start_as_current_span("wrap"):
            ctx.log.info("packing %d", self.number)
        if self.fails:
            raise KeyError("hunter2")

class Ordered(Event):
    number: int

class OnOrdered(Listener[Ordered]):
    async def handle(self, event, ctx):
        await Pack(number=event.number + 1).deliver()

async def order(request):
    with tracer.start_as_current_span("price"):
        pass
    number = int(request.path_params["number"])
    await Pack(number=number, fails=number == 13).deliver()
    await Ordered(number=number).fire()
    return JSONResponse({"traceparent": request.headers.get("traceparent")})

async def broken(request):
    raise RuntimeError("hunter2")

@cron(every=0.2)
async def sweep(tick):
    pass

plugin = Plugin(
    routes=[Route("/orders/{number}", order), Route("/broken", broken)],
    tasks=[Pack], events=[Ordered], listeners=[OnOrdered], crons=[sweep],
)
"""


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, collected: Collector) -> Iterator[Platform]:
    made = Platform(
        tmp_path,
        PLATFORM_TRACING="otlp",
        PLATFORM_WEB_WORKERS="1",
        OTEL_EXPORTER_OTLP_ENDPOINT=collected.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-team=bees",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    (made.plugins / "shop.py").write_text(SHOP)
    made.publish_sample("GREETING=hello\n")
    yield made
    made.stop()


def ask(shop: Platform, path: str, traceparent: str) -> httpx.Response:
    return httpx.get(f"{shop.url}{path}", headers={"traceparent": traceparent}, timeout=25)


def only(found: list[Collected]) -> Collected:
    (one,) = found
    return one


def test_a_trace_leads_from_the_caller_through_the_request_to_its_tasks(
    shop: Platform, collected: Collector
) -> None:
    shop.start()
    answer = ask(shop, "/orders/7?card=hunter2", SAMPLED)
    request = only(collected.wait("GET /orders/{number}"))
    assert (request.kind, request.trace, request.parent) == ("server", TRACE, CALLER)
    assert answer.json()["traceparent"] == f"00-{TRACE}-{request.id}-01"
    assert not request.failed
    assert request.attributes.items() >= {
        ("http.request.method", "GET"),
        ("http.route", "/orders/{number}"),
        ("http.response.status_code", 200),
        ("url.path", "/orders/7"),
        ("url.scheme", "http"),
    }
    assert request.resource["service.name"] == "sample"
    assert request.resource["skep.slot"] == "web.0"
    assert only(collected.wait("price")).parent == request.id

    sent = only(collected.wait("send shop.Pack", count=2)[:1])
    assert (sent.kind, sent.trace, sent.parent) == ("producer", TRACE, request.id)
    task = only([one for one in collected.wait("process shop.Pack", 2) if sent.id in one.links])
    assert (task.kind, task.trace, task.parent) == ("consumer", TRACE, sent.id)
    assert task.attributes["skep.outcome"] == "success"
    assert task.attributes["messaging.message.id"] == sent.attributes["messaging.message.id"]
    assert task.id in {one.parent for one in collected.wait("wrap", 2)}

    fired = only(collected.wait("send shop.Ordered"))
    listener = only(collected.wait("process shop.OnOrdered"))
    assert (fired.parent, listener.links) == (request.id, [fired.id])
    assert listener.attributes["skep.event"] == "shop.Ordered"
    again = only([one for one in collected.find("send shop.Pack") if one.id != sent.id])
    assert (again.trace, again.parent) == (TRACE, listener.id)

    assert all(headers["x-team"] == "bees" for headers in collected.headers)
    wait_until(lambda: f"trace_id={TRACE}" in shop.output())
    assert "hunter2" not in repr(collected.spans)


def test_failures_have_a_type_and_no_text(shop: Platform, collected: Collector) -> None:
    shop.start()
    assert ask(shop, "/broken", SAMPLED).status_code == 500
    request = only(collected.wait("GET /broken"))
    assert request.failed
    assert request.attributes["error.type"] == "RuntimeError"
    ask(shop, "/orders/13", SAMPLED)
    task = only(collected.wait("process shop.Pack", skep__outcome="failure"))
    assert task.failed
    assert task.attributes["error.type"] == "KeyError"
    assert ask(shop, "/nowhere", SAMPLED).status_code == 404
    missing = only(collected.wait("GET"))
    assert "http.route" not in missing.attributes
    assert not missing.failed
    assert "hunter2" not in repr(collected.spans)


def test_crons_and_rollouts_are_traced(shop: Platform, collected: Collector) -> None:
    shop.start()
    run = collected.wait("cron shop.sweep")[0]
    assert (run.kind, run.parent) == ("internal", "")
    assert run.attributes["skep.outcome"] == "success"
    first = only(collected.wait("rollout start"))
    assert first.resource["skep.slot"] == "agent.0"
    assert list(first.events)[:3] == ["planning", "preparing", "committing"]

    before = time.time()
    shop.publish("GREETING=hunter2", "OTHER=1")
    change = only(collected.wait("config change"))
    rollout = only(collected.wait("rollout config"))
    assert (rollout.trace, rollout.parent) == (change.trace, change.id)
    # Live: the exporter has read no key but its own
    assert change.attributes["skep.outcome"] == "live"
    assert {"notified", "pulled", "applied"} <= set(change.events)
    assert before - 5 < change.start <= rollout.start <= rollout.end <= change.end
    (shop.plugins / "worse.py").write_text("raise RuntimeError('hunter2')\n")
    shop.cli("reload")
    refused = only(collected.wait("rollout reload"))
    assert refused.failed
    assert refused.attributes["error.type"] == "refused"
    assert "hunter2" not in repr(collected.spans)


def test_what_the_caller_does_not_sample_is_not_sent(shop: Platform, collected: Collector) -> None:
    shop.start()
    answer = ask(shop, "/orders/7", UNSAMPLED)
    carried = answer.json()["traceparent"]
    assert carried.startswith(f"00-{TRACE}-")
    assert carried.endswith("-00")
    wait_until(lambda: "packing 8" in shop.output())
    ask(shop, "/orders/20", "not a traceparent")
    collected.wait("process shop.Pack", count=2)
    assert TRACE not in {span.trace for span in collected.spans}


def test_the_last_spans_are_sent_at_the_stop(shop: Platform, collected: Collector) -> None:
    shop.environment["OTEL_BSP_SCHEDULE_DELAY"] = "3600000"
    shop.start()
    ask(shop, "/orders/7", SAMPLED)
    wait_until(lambda: "packing 8" in shop.output())
    assert collected.spans == []
    shop.stop()
    assert len(collected.find("process shop.Pack")) == 2
    assert collected.find("GET /orders/{number}")
    assert collected.find("rollout start")


def test_a_collector_that_cannot_be_reached_costs_no_answer(shop: Platform) -> None:
    shop.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    shop.start()
    for number in range(50):
        assert ask(shop, f"/orders/{number}", SAMPLED).status_code == 200
    wait_until(lambda: "spans are lost" in shop.output())
    shop.stop()
    assert "killed" not in shop.output()
    # One for each process that has spans: web, task, cron, agent
    assert shop.output().count("spans are lost") <= 4


def test_without_the_extra_the_start_is_refused_with_what_to_install(platform: Platform) -> None:
    (platform.plugins / "empty.py").write_text("from skep import Plugin\nplugin = Plugin()\n")
    hidden = platform.directory / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('No module named opentelemetry')\n")
    platform.environment |= {
        "PLATFORM_TRACING": "otlp",
        "PYTHONPATH": os.pathsep.join((str(hidden.parent), str(ROOT / "platform"))),
    }
    platform.start(ready=False)
    assert platform.process is not None
    assert platform.process.wait(60) == 3
    assert "pip install 'skep[otel]'" in platform.output()


def test_without_tracing_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, skep.worker.boot, skep.agent.__main__\n"
        "print(sorted(m for m in sys.modules if 'opentelemetry' in m or 'skep.tracing' in m))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
    )
    assert out.stdout.strip() == "[]", out.stderr
