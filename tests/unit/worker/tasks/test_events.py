"""The way of an event, from `fire()` through its listeners, with a real store."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from skep.api.plugin import Plugin
from skep.api.tasks.context import Context
from skep.api.tasks.decorators import on
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.policy import Discard
from skep.base.backoff import Backoff
from skep.engine.contract import Envelope
from skep.engine.headers import LISTENER, UNKNOWN
from skep.engine.ids import new_id
from skep.worker.loading.catalog import Catalog
from tests.workshop import Workshop, run_workshop

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


class Paid(Event):
    order: int
    trouble: str = ""


class Unheard(Event):
    pass


class First(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Context) -> bool:
        LOG.append(("first", event.order, ctx.id, ctx.attempt))
        return event.trouble != "stop"


class Second(Listener[Paid]):
    tries = 3
    backoff = Backoff(first=0.001, factor=1.0, cap=0.001)

    def handle(self, event: Paid, ctx: Context) -> None:
        LOG.append(("second", event.order, ctx.id, ctx.attempt))
        if event.trouble == "discard":
            raise Discard("not for me")
        if event.trouble == "always" or (event.trouble == "twice" and ctx.attempt < 3):
            raise ValueError("boom")


class Third(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Context) -> None:
        LOG.append(("third", event.order, ctx.id, ctx.attempt))


class Everywhere(Event):
    """Its listeners run beside one another."""

    fanout = True


class Fails(Listener[Everywhere]):
    async def handle(self, event: Everywhere, ctx: Context) -> None:
        LOG.append(("fails", ctx.id, ctx.tries))
        raise ValueError("boom")


class Stops(Listener[Everywhere]):
    order = 1

    async def handle(self, event: Everywhere, ctx: Context) -> bool:
        LOG.append(("stops", ctx.id, ctx.tries))
        return False


@on(Everywhere, order=2)
async def last(event: Everywhere, ctx: Context) -> None:
    LOG.append(("last", ctx.id, ctx.tries))


@on(Paid, order=-1)
def before(event: Paid, ctx: Context) -> None:
    LOG.append(("before", event.order, ctx.id, ctx.attempt))


PLUGIN = Plugin(events=[Unheard], listeners=[First, Second, Third, last, Stops, Fails])


def who() -> list[str]:
    return [entry[0] for entry in LOG]


def test_listeners_run_in_order_with_the_event(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Paid(order=7).fire()
        await shop.done()
        assert receipt is not None
        assert [(name, 7, receipt.id, 1) for name in ("first", "second", "third")] == LOG
        assert shop.told("event.published") == [{"event": "test_events.Paid"}]
        assert shop.told("event.delivered") == [
            {"event": "test_events.Paid", "listener": f"test_events.{name}", "outcome": "success"}
            for name in ("First", "Second", "Third")
        ]

    run_workshop(tmp_path, PLUGIN, test)


def test_the_lag_of_a_listener_counts_from_the_event_and_only_at_its_first_start(
    tmp_path: Path,
) -> None:
    async def test(shop: Workshop) -> None:
        begun = time.time()
        await Paid(order=7, trouble="twice").fire(delay=0.2)
        await shop.done()
        taken = time.time() - begun
        lags = [point["lag"] for point in shop.told("event.started")]
        assert len(lags) == len(["first", "second", "third"])
        # The third waited for the two before it, and none for the delay that was asked for
        assert 0 <= lags[0] <= lags[2] <= taken - 0.2

    run_workshop(tmp_path, PLUGIN, test)


def test_one_that_returns_false_ends_the_round(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Paid(order=7, trouble="stop").fire()
        await shop.done()
        assert who() == ["first"]
        assert shop.tallied("event_deliveries_total") == {
            ("test_events.Paid", "test_events.First", "success"): 1,
            ("test_events.Paid", "test_events.Second", "skipped"): 1,
            ("test_events.Paid", "test_events.Third", "skipped"): 1,
        }

    run_workshop(tmp_path, PLUGIN, test)


def test_one_that_fails_is_tried_again_alone_while_the_next_go_on(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Paid(order=7, trouble="twice").fire()
        await shop.done()
        assert sorted(who()) == ["first", "second", "second", "second", "third"]
        assert [entry[3] for entry in LOG if entry[0] == "second"] == [1, 2, 3]
        assert await shop.dead() == []

    run_workshop(tmp_path, PLUGIN, test)


def test_one_that_always_fails_is_a_dead_letter_and_the_next_have_run(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Paid(order=7, trouble="always").fire()
        await shop.done()
        assert sorted(who()) == ["first", "second", "second", "second", "third"]
        (dead,) = await shop.dead()
        assert (dead.envelope.name, dead.envelope.headers["listener"], dead.reason) == (
            "test_events.Paid",
            "test_events.Second",
            "failed",
        )
        second = "test_events.Second"
        assert shop.tallied("tasks_dead_total") == {(second, "default"): 1}
        assert shop.tallied("task_retries_total") == {(second, "default"): 2}
        failures = shop.tallied("event_deliveries_total")["test_events.Paid", second, "failure"]
        assert failures == 3

    run_workshop(tmp_path, PLUGIN, test)


def test_a_dead_letter_of_one_is_run_again_alone_for_the_round_has_gone_on(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Paid(order=7, trouble="always").fire()
        await shop.done()
        (dead,) = await shop.dead()
        LOG.clear()
        assert await shop.engine.edit([dead.envelope.id], "requeue") == 1
        await shop.done()
        assert who() == ["second"] * 3

    run_workshop(tmp_path, PLUGIN, test)


def test_a_dead_letter_of_one_nobody_knew_is_where_the_round_goes_on(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        # Given a worker without these listeners, that has given up the second
        headers = {LISTENER: "test_events.Second", UNKNOWN: "3"}
        body = Paid(order=7).model_dump_json().encode()
        await shop.engine.put([Envelope(new_id(), "test_events.Paid", body, headers=headers)])
        await shop.done()
        (dead,) = await shop.dead()
        assert dead.reason == "unknown_task"
        knowing = Catalog.collect({"shop": PLUGIN})
        shop.kind._runner._workplace.catalog = knowing
        await shop.engine.edit([dead.envelope.id], "requeue")
        await shop.done()
        assert who() == ["second", "third"]

    run_workshop(tmp_path, Plugin(), test)


def test_one_that_discards_lets_the_next_go_on(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Paid(order=7, trouble="discard").fire()
        await shop.done()
        assert who() == ["first", "second", "third"]
        assert shop.counted("event.delivered", "outcome") == {"success": 2, "skipped": 1}

    run_workshop(tmp_path, PLUGIN, test)


def test_an_event_nobody_listens_to_is_not_kept(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        assert await Unheard().fire() is None
        assert await shop.engine.stats() == {}
        assert shop.told("event.published") == [{"event": "test_events.Unheard"}]

    run_workshop(tmp_path, PLUGIN, test)


def test_with_fanout_none_waits_for_another_and_none_stops_another(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Everywhere().fire(tries=2)
        await shop.done()
        assert receipt is not None
        assert sorted(set(LOG)) == [(name, receipt.id, 2) for name in ("fails", "last", "stops")]
        assert Counter(who())["last"] == 1
        assert [row.attempt for row in await shop.dead()] == [2]

    run_workshop(tmp_path, PLUGIN, test)


def test_listeners_of_all_plugins_run_by_their_order(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Paid(order=7).fire(delay=0.001)
        await shop.done()
        assert who() == ["before", "first", "second", "third"]

    plugin = Plugin(listeners=[First, Second, Third, before])
    run_workshop(tmp_path, plugin, test)
