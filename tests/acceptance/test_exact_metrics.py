"""Counters say what happened, also when workers are killed in the middle of it."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.load import Answer, Load
from tests.platform_process import Platform
from tests.support import wait_until

KILLS = 20

SHOP = """
import os
import time
from prometheus_client import Counter, Histogram
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

ORDERS = Counter("orders", "Orders.")
PRICE = Histogram("price", "Price.", buckets=(1, 10))

async def order(request):
    ORDERS.inc()
    PRICE.observe(3)
    return JSONResponse({"pid": os.getpid()})

async def hang(request):
    time.sleep(60)

plugin = Plugin(routes=[Route("/", order), Route("/hang", hang)])
"""


@pytest.fixture
def shop(platform: Platform) -> Platform:
    (platform.plugins / "shop.py").write_text(SHOP)
    return platform.start()


def total(shop: Platform, sample: str, /, **labels: str) -> float:
    """The sum of all samples of this name on /metrics that carry these labels."""
    return sum(
        found.value
        for family in text_string_to_metric_families(shop.metrics())
        for found in family.samples
        if found.name == sample and labels.items() <= found.labels.items()
    )


def _new(answers: list[Answer], killed: set[int]) -> int:
    """The process that sent the last of these answers, 0 if it was killed."""
    pid: int = answers[-1].body["pid"] if answers else 0
    return 0 if pid in killed else pid


def test_nothing_counted_is_lost_when_workers_are_killed_under_load(shop: Platform) -> None:
    """B21; metrics, case 32."""
    killed: set[int] = set()
    with Load(shop.url) as load:
        for _ in range(KILLS):
            asked = len(load.answers)
            # An answer that was received late may be of one that was killed
            pid = wait_until(lambda: _new(load.answers[asked + 30 :], killed))  # noqa: B023
            killed.add(pid)
            shop.kill(pid)
    answered, cut = len(load.answers), len(load.failures)
    assert 0 < cut <= 20 * KILLS
    # A request that was cut off may have been counted, one that was answered always was
    for sample, labels in (
        ("platform_http_requests_total", {"route": "/", "status": "200"}),
        ("platform_http_request_duration_seconds_count", {"route": "/"}),
        ("orders_total", {}),
        ("price_count", {}),
        ("price_bucket", {"le": "10.0"}),
    ):
        assert answered <= total(shop, sample, **labels) <= answered + cut, sample
    assert total(shop, "platform_metrics_frames_total", outcome="bad") == 0
    assert total(shop, "platform_worker_exits_total", reason="signal") == KILLS


def test_a_scrape_does_not_wait_for_a_worker_that_hangs_and_says_which_it_is(
    shop: Platform,
) -> None:
    """Metrics, case 35."""
    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"{shop.url}/hang", timeout=0.3)
    wait_until(lambda: max(_ages(shop)) > 1.5)
    # The agent gives up after 2 s, and answers 503 then
    assert httpx.get(f"{shop.admin}/metrics", timeout=2.0).status_code == 200
    assert min(_ages(shop)) < 1.5
    assert total(shop, "platform_metrics_frames_total", outcome="late") >= 1


def _ages(shop: Platform) -> list[float]:
    """The ages of what the web workers have sent last."""
    return [
        sample.value
        for family in text_string_to_metric_families(shop.metrics())
        for sample in family.samples
        if sample.name == "platform_worker_metrics_age_seconds" and sample.labels["pool"] == "web"
    ]
