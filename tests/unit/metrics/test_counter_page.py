import os
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values

from skep.metrics import counter_page
from skep.metrics.counter_page import Counted, CounterPage, read
from skep.metrics.loop_counters import LoopCounter, LoopHistogram
from skep.metrics.names import BY_NAME
from skep.metrics.page_values import keep_in_page

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> CounterPage:
    """A page of this test's own, in which all instruments made from now on keep their numbers."""
    page = CounterPage()
    monkeypatch.setattr("skep.metrics.page_values.PAGE", page)
    monkeypatch.setattr("skep.metrics.loop_counters.PAGE", page)
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    keep_in_page()
    return page


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def kept(page: CounterPage) -> dict[tuple[str, tuple[tuple[str, str], ...]], Counted]:
    """What another process reads in the page."""
    descriptor = page.share()
    try:
        return {(row.name, row.labels): row for row in read(descriptor)}
    finally:
        os.close(descriptor)


def test_what_is_counted_before_and_after_the_page_is_shared_is_read(
    page: CounterPage, registry: CollectorRegistry
) -> None:
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    orders.labels("a").inc(2)
    descriptor = page.share()
    orders.labels("a").inc(3)
    orders.labels("b").inc()
    found = {row.labels: row.value for row in read(descriptor)}
    assert found == {(("shop", "a"),): 5, (("shop", "b"),): 1}
    assert registry.get_sample_value("orders_total", {"shop": "a"}) == 5
    os.close(descriptor)


def test_histograms_and_summaries_are_read_bucket_by_bucket(
    page: CounterPage, registry: CollectorRegistry
) -> None:
    latency = Histogram("latency", "L.", registry=registry, buckets=(1, 5))
    size = Summary("size", "S.", registry=registry)
    for value in (0.5, 2, 3, 9):
        latency.observe(value)
        size.observe(value)
    found = kept(page)
    assert found["latency", ()].value == found["size", ()].value == 14.5
    assert found["latency", ()].counts == {1: 1, 5: 2, float("inf"): 1}
    assert found["size", ()].counts == {float("inf"): 4}
    assert registry.get_sample_value("latency_bucket", {"le": "5.0"}) == 3


def test_the_instruments_of_the_event_loop_are_read_too(page: CounterPage) -> None:
    requests = LoopCounter(BY_NAME["http_requests_total"], ("GET", "/", "200"))
    duration = LoopHistogram(BY_NAME["http_request_duration_seconds"], ("GET", "/"))
    requests.inc()
    duration.observe(0.3)
    duration.observe(99)
    labels = (("method", "GET"), ("route", "/"))
    found = kept(page)
    assert found["platform_http_requests_total", (*labels, ("status", "200"))].value == 1
    counted = found["platform_http_request_duration_seconds", labels]
    assert counted.value == 99.3
    assert {bound for bound, count in counted.counts.items() if count} == {0.5, float("inf")}


def test_gauges_are_not_kept(page: CounterPage, registry: CollectorRegistry) -> None:
    Gauge("depth", "D.", registry=registry).set(3)
    assert kept(page) == {}


def test_labels_that_were_removed_keep_what_they_counted(
    page: CounterPage, registry: CollectorRegistry
) -> None:
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    orders.labels("a").inc(2)
    orders.remove("a")
    orders.labels("a").inc(3)
    assert kept(page)["orders_total", (("shop", "a"),)].value == 5


def test_a_full_page_counts_on_in_memory_of_its_own(
    monkeypatch: pytest.MonkeyPatch, page: CounterPage, registry: CollectorRegistry
) -> None:
    monkeypatch.setattr(counter_page, "CAPACITY", 3)
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    for shop in "abcde":
        orders.labels(shop).inc()
    assert len(kept(page)) == 3
    assert registry.get_sample_value("orders_total", {"shop": "e"}) == 1


def test_what_a_forked_process_counts_is_its_own(
    page: CounterPage, registry: CollectorRegistry
) -> None:
    orders = Counter("orders", "Orders.", registry=registry)
    descriptor = page.share()
    orders.inc()
    if (pid := os.fork()) == 0:
        orders.inc(100)
        os._exit(registry.get_sample_value("orders_total") != 101)
    assert os.waitpid(pid, 0)[1] == 0
    assert [row.value for row in read(descriptor)] == [1]
    os.close(descriptor)


@settings(deadline=None, max_examples=50)
@given(TEXT, TEXT)
def test_any_text_can_be_a_label(name: str, value: str) -> None:
    page = CounterPage()
    holder, index = page.allocate(("orders_total", "counter", name), [["shop"], [value], "value"])
    holder.numbers[index] += 7
    (row,) = kept(page).values()
    assert (row.help, row.labels, row.value) == (name, (("shop", value),), 7)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=4096))
def test_what_is_no_page_is_refused(data: bytes) -> None:
    descriptor = CounterPage().share()
    os.pwrite(descriptor, data, 0)
    os.pwrite(descriptor, data, counter_page.DEFINITIONS)
    with suppress(ValueError):
        assert all(isinstance(row, Counted) for row in read(descriptor))
    os.close(descriptor)


@pytest.mark.parametrize("line", ["[" * 200_000, '[0,0,[],[],["a"]]', f"[0,0,[],[],[{10**400}]]"])
def test_a_damaged_definition_is_refused(line: str) -> None:
    page = CounterPage()
    page.allocate(("orders", "histogram", "Orders."), [[], [], [1.0]], 3)
    descriptor = page.share()
    text = b'[0,"orders","histogram","Orders."]\n' + line.encode()
    os.pwrite(descriptor, text, counter_page.DEFINITIONS)
    os.pwrite(descriptor, struct.pack("d", len(text)), 0)
    with pytest.raises(ValueError, match="page of counters is damaged"):
        read(descriptor)
    os.close(descriptor)


def test_a_finalizer_that_counts_while_a_value_is_made_does_not_hang(
    page: CounterPage, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    other = Counter("other", "Other.", ["shop"], registry=registry)
    place = page._place

    def interrupted(*arguments: Any) -> int:
        # What garbage collection may do at any moment
        monkeypatch.setattr(page, "_place", place)
        other.labels("z").inc()
        return place(*arguments)

    monkeypatch.setattr(page, "_place", interrupted)
    orders.labels("a").inc()
    assert {row.name: row.value for row in kept(page).values()} == {
        "orders_total": 1, "other_total": 1,
    }  # fmt: skip
