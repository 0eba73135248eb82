import os
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values
from prometheus_client.metrics import MetricWrapperBase

from skep.metrics import counter_page
from skep.metrics.counter_page import Counted, CounterPage, read
from skep.metrics.frames import Framer
from skep.metrics.loop_counters import LoopCounter, LoopHistogram, LoopMetric
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


@settings(max_examples=50)
@given(TEXT, TEXT)
def test_any_text_can_be_a_label(name: str, value: str) -> None:
    page = CounterPage()
    holder, index = page.allocate(("orders_total", "counter", name), [["shop"], [value], "value"])
    holder.numbers[index] += 7
    (row,) = kept(page).values()
    assert (row.help, row.labels, row.value) == (name, (("shop", value),), 7)


@settings(max_examples=50)
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
    assert {row.name: row.value for row in kept(page).values()} == {"orders_total": 1}
    # It is counted all the same, by frames
    assert registry.get_sample_value("other_total", {"shop": "z"}) == 1


def test_only_what_was_counted_since_is_collected_again(
    page: CounterPage, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skep.metrics.frames.PAGE", page)
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    price = Histogram("price", "Price.", registry=registry, buckets=(1, 5))
    Gauge("depth", "Depth.", registry=registry).set(3)
    orders.labels("a").inc()
    framer = Framer(registry)
    assert {row[1] for row in framer.next()["families"]} == {"orders_total", "price", "depth"}
    collected: list[str] = []
    collect = MetricWrapperBase.collect

    def noted(self: Any) -> Any:
        collected.append(self._name)
        return collect(self)

    monkeypatch.setattr(MetricWrapperBase, "collect", noted)
    assert framer.next() == {}
    assert collected == ["depth"]
    # Whatever was counted, or has labels that are new, is sent with the next frame
    orders.labels("b").inc(2)
    frame = framer.next()
    assert [row[2] for row in frame["series"]] == [{"shop": "b"}]
    assert [row[1] for row in frame["add"]] == [2]
    price.observe(3)
    assert framer.next()["observe"][0][1:] == [3, [0, 1, 0]]
    # Labels that were removed and are used again begin at zero
    orders.remove("a")
    assert list(framer.next()) == ["drop"]
    orders.labels("a").inc(5)
    assert [row[1] for row in framer.next()["add"]] == [5]
    assert framer.next() == {}


def test_what_the_page_has_no_room_for_is_collected_each_time(
    page: CounterPage, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skep.metrics.frames.PAGE", page)
    monkeypatch.setattr(counter_page, "CAPACITY", 1)
    orders = Counter("orders", "Orders.", ["shop"], registry=registry)
    framer = Framer(registry)
    for _ in range(2):
        for shop in "ab":
            orders.labels(shop).inc()
        assert [row[1] for row in framer.next()["add"]] == [1, 1]


def test_an_instrument_of_the_event_loop_takes_its_place_in_the_page_once(
    page: CounterPage, registry: CollectorRegistry
) -> None:
    for name in ("worker_requests_total", "http_request_duration_seconds"):
        metric = LoopMetric(BY_NAME[name], registry)
        values = ("web",) if name == "worker_requests_total" else ("GET", "/")
        assert metric.labels(*values) is metric.labels(*values)
    definitions = page._end
    metric.labels(*values)
    assert page._end == definitions
