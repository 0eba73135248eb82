"""Crons with `run_in="task"`: what the timer delivers, and what a task worker makes of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skep.api.cron import CronJob, Tick, cron
from skep.base.errors import StoreUnavailable
from skep.base.telemetry import Telemetry
from skep.engine import binding
from skep.engine.contract import DeliveryRow, Envelope, Lease, Outcome, Settlement
from skep.engine.headers import DIED
from skep.table import binding as table_binding
from skep.table.journal import CronRun
from skep.testing.inline_engine import Inline, MemoryStore
from skep.worker.cron.delivery import envelope, handler
from skep.worker.loading.catalog import Catalog
from skep.worker.tasks.steps import Unknown, decode
from tests.support import wait_until_async
from tests.unit.worker.kinds.test_cron import run
from tests.unit.worker.kinds.test_cron_journal import NOON, Timers, kill, outcomes, tick

CTX: Any = None


class Place:
    """Timers over one journal, beside an engine in memory."""

    def __init__(self, folder: Path) -> None:
        self.timers = Timers(folder)
        self.telemetry = Telemetry()
        self.engine = Inline(MemoryStore(), "timer")

    async def waiting(self) -> list[DeliveryRow]:
        """Return what is delivered and has not begun."""
        found = await self.engine.scan("default", "ready")
        return [*found, *await self.engine.scan("default", "blocked")]

    async def run_next(self, job: CronJob) -> None:
        """Do what a task worker does with the next delivery."""
        (lease,) = await self.engine.lease((), 1)
        await handler(lease.envelope, job)(CTX)
        await self.engine.settle([Settlement(lease, "done")])


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Place]:
    place = Place(folder)
    before = table_binding.bind(place.timers.tables)
    await place.engine.open()
    binding.bind(place.engine, place.telemetry, {})
    try:
        yield place
    finally:
        binding.unbind()
        await place.engine.close()
        table_binding.bind(before)
        place.timers.tables.close()


def test_a_moment_has_one_id_and_one_key() -> None:
    first = envelope("pulse.beat", CronRun(1, NOON), allow_overlap=False)
    again = envelope("pulse.beat", CronRun(7, NOON, missed=3), allow_overlap=False)
    assert (first.id, first.key) == (again.id, again.key)
    assert first.concurrency_key
    assert not envelope("pulse.beat", CronRun(1, NOON), allow_overlap=True).concurrency_key
    for name, moment in (("pulse.beat", NOON + 0.005), ("pulse.bead", NOON)):
        other = envelope(name, CronRun(1, moment), allow_overlap=False)
        assert other.id != first.id
        assert other.key != first.key


def test_a_moment_is_delivered_and_run_with_its_tick(tmp_path: Path) -> None:
    ticks: list[Tick] = []

    @cron(every="10s", run_in="task")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        async with opened(tmp_path) as place:
            timer = await place.timers.start(beat)
            place.timers.clock.advance(35)  # three moments
            await tick(timer)
            await wait_until_async(lambda: outcomes(place.timers) == ["waiting"])
            assert ticks == []
            await place.run_next(beat)
            assert outcomes(place.timers) == ["success"]
            assert [(one.n, one.missed) for one in ticks] == [(1, 2)]
            assert ticks[0].scheduled_at.timestamp() == pytest.approx(NOON + 30)
            await timer.end()

    run(test)


def test_a_timer_that_is_killed_around_the_delivery_delivers_once(tmp_path: Path) -> None:
    """Before the put, and after it but before that is known."""
    ticks: list[Tick] = []

    @cron(every="10s", run_in="task")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        async with opened(tmp_path) as place:
            timers = place.timers
            first = await timers.start(beat)
            timers.clock.advance(10)
            first.kind._wake()  # it has written that the run is to be delivered
            for delivering in first.kind._runners["pulse.beat"].runs:
                delivering.cancel()
            kill(first)
            assert outcomes(timers) == ["delivering"]
            assert await place.waiting() == []
            second = await timers.start(beat)
            await wait_until_async(lambda: outcomes(timers) == ["waiting"])
            assert len(await place.waiting()) == 1
            kill(second)
            # As if it had died before it wrote that
            (known,) = timers.journal.runs("pulse.beat")
            timers.journal.write("pulse.beat", CronRun(1, known.scheduled, outcome="delivering"))
            third = await timers.start(beat)
            await wait_until_async(lambda: outcomes(timers) == ["waiting"])
            assert len(await place.waiting()) == 1
            await place.run_next(beat)
            # And once more, when it has run already
            kill(third)
            fourth = await timers.start(beat)
            await tick(fourth)
            assert len(ticks) == 1
            assert await place.waiting() == []
            await fourth.end()

    run(test)


def test_a_run_that_a_dead_worker_had_begun_is_not_repeated(tmp_path: Path) -> None:
    ticks: list[Tick] = []
    cut: list[dict[str, Any]] = []

    @cron(every="10s", run_in="task")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        async with opened(tmp_path) as place:
            place.telemetry.subscribe("cron.cut", cut.append)
            journal = place.timers.journal
            run = CronRun(1, NOON, outcome="running")
            journal.write("pulse.beat", run)
            delivered = envelope("pulse.beat", run, allow_overlap=False)
            await handler(delivered, beat)(CTX)
            assert (ticks, outcomes(place.timers)) == ([], ["interrupted"])
            assert cut == [{"cron": "pulse.beat", "outcome": "interrupted"}]
            # The same lease a second time
            await handler(delivered, beat)(CTX)
            assert (ticks, len(cut)) == ([], 1)
            # An operator runs the dead letter again
            revived = Envelope(
                delivered.id, delivered.name, delivered.body,
                headers={**delivered.headers, DIED: "worker_lost"},
            )  # fmt: skip
            await handler(revived, beat)(CTX)
            assert (len(ticks), outcomes(place.timers)) == (1, ["success"])

    run(test)


@pytest.mark.parametrize(("overlap", "delivered"), [("skip", 1), ("queue", 2), ("allow", 4)])
def test_moments_that_come_while_one_runs(tmp_path: Path, overlap: Any, delivered: int) -> None:
    @cron(every="10s", run_in="task", overlap=overlap)
    async def beat(tick: Tick) -> None: ...

    async def test() -> None:
        async with opened(tmp_path) as place:
            timer = await place.timers.start(beat)
            for _ in range(4):
                place.timers.clock.advance(10)
                await tick(timer)
                await wait_until_async(lambda: "delivering" not in outcomes(place.timers))
            assert outcomes(place.timers) == ["waiting"] * delivered
            assert len(await place.waiting()) == delivered
            skipped = [fields["count"] for fields in timer.points("cron.misfired")]
            assert sum(skipped) == 4 - delivered
            await timer.end()

    run(test)


def test_a_delivery_that_was_removed_holds_up_nothing(tmp_path: Path) -> None:
    @cron(every="10s", run_in="task")
    async def beat(tick: Tick) -> None: ...

    async def test() -> None:
        async with opened(tmp_path) as place:
            timer = await place.timers.start(beat)
            place.timers.clock.advance(10)
            await tick(timer)
            await wait_until_async(lambda: outcomes(place.timers) == ["waiting"])
            (row,) = await place.waiting()
            await place.engine.cancel([row.envelope.id])
            place.timers.clock.advance(10)
            await tick(timer)
            await wait_until_async(lambda: outcomes(place.timers) == ["interrupted"])
            (run,) = place.timers.journal.runs("pulse.beat")
            assert run.error == "its delivery was removed"
            place.timers.clock.advance(10)
            await tick(timer)
            await wait_until_async(lambda: outcomes(place.timers) == ["interrupted", "waiting"])
            await timer.end()

    run(test)


def test_a_delivery_waits_for_an_engine_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cron(every="10s", run_in="task")
    async def beat(tick: Tick) -> None: ...

    async def test() -> None:
        async with opened(tmp_path) as place:
            put, tries = place.engine.put, 0

            async def out_of_reach(envelopes: list[Envelope]) -> list[Outcome]:
                nonlocal tries
                tries += 1
                if tries < 3:
                    raise StoreUnavailable("The store is away.")
                return await put(envelopes)

            monkeypatch.setattr(place.engine, "put", out_of_reach)
            timer = await place.timers.start(beat)
            place.timers.clock.advance(10)
            await tick(timer)
            await wait_until_async(lambda: outcomes(place.timers) == ["waiting"])
            assert tries == 3
            await timer.end()

    run(test)


def test_a_worker_without_the_cron_does_not_know_it() -> None:
    @cron(every="10s", run_in="task")
    async def beat(tick: Tick) -> None: ...

    delivered = envelope("pulse.beat", CronRun(1, NOON), allow_overlap=False)
    lease = Lease(delivered, "token", 1, 0, 0)
    assert decode(lease, Catalog(crons={"pulse.beat": beat})).name == "pulse.beat"
    with pytest.raises(Unknown, match=r"No plugin of this generation has a cron pulse\.beat"):
        decode(lease, Catalog())
