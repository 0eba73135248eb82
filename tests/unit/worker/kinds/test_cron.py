import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from skep.api.cron import CronJob, Tick, cron, named
from skep.base.errors import PluginError
from skep.base.telemetry import Telemetry
from skep.engine.contract import Engine
from skep.metrics.subscriber import RULES
from skep.table.journal import CronState
from skep.worker.cron.runner import Clocks
from skep.worker.kinds.cron import CronKind
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Workplace
from tests.support import wait_until_async

NO_ENGINE = cast(Engine, None)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


class Generation:
    """A cron worker in this loop, and what it tells."""

    def __init__(self, *crons: CronJob | type[CronJob], clocks: Clocks | None = None) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        telemetry = Telemetry()
        for point in {rule.point for rule in RULES}:
            telemetry.subscribe(point, self._listener(point))
        catalog = Catalog(crons=named("pulse", crons))
        self.workplace = Workplace("cron.0", 1, catalog, NO_ENGINE, telemetry)
        self.kind = CronKind(self.workplace, clocks)

    def _listener(self, point: str) -> Callable[[dict[str, Any]], None]:
        return lambda fields: self.told.append((point, fields))

    async def start(self, handover: Mapping[str, Any] | None = None, *, alone: bool = True) -> None:
        """Start; the predecessor has ended, unless it is said that this is not `alone`."""
        await self.kind.prepare()
        await self.kind.accept({}, handover or {})
        if alone:
            self.workplace.when_alone()

    async def end(self, grace: float = 5.0) -> Mapping[str, Any]:
        handover = self.kind.retire()
        await self.kind.drain(asyncio.get_running_loop().time() + grace)
        await self.kind.stop()
        return handover

    def points(self, name: str) -> list[dict[str, Any]]:
        return [fields for point, fields in self.told if point == name]

    def overlapped(self) -> list[dict[str, Any]]:
        return [fields for fields in self.points("cron.misfired") if fields["reason"] == "overlap"]

    def outcomes(self, name: str) -> list[str]:
        found = self.points("cron.finished")
        return [fields["outcome"] for fields in found if fields["cron"] == f"pulse.{name}"]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_an_interval_runs_in_step_and_counts_its_runs() -> None:
    ticks: list[Tick] = []

    @cron(every="20ms")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        generation = Generation(beat)
        await generation.start()
        await wait_until_async(lambda: len(ticks) >= 10)
        await generation.end()
        assert [tick.n for tick in ticks] == list(range(1, len(ticks) + 1))
        assert {tick.scheduled_at.tzinfo for tick in ticks} == {UTC}
        assert in_step(ticks, 0.02)
        assert generation.outcomes("beat") == ["success"] * len(ticks)
        assert all(fields["lag"] >= 0 for fields in generation.points("cron.started"))

    run(test)


def in_step(ticks: list[Tick], every: float) -> bool:
    """Whether no due moment is lost or doubled: each tick is so many intervals after the last."""
    gaps = [
        ((late.scheduled_at - early.scheduled_at).total_seconds() / every, late.missed + 1)
        for early, late in itertools.pairwise(ticks)
    ]
    return all(abs(gap - expected) < 0.5 for gap, expected in gaps)


def test_over_rollouts_no_tick_is_lost_or_doubled() -> None:
    ticks: list[Tick] = []

    @cron(every="20ms")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        handover: Mapping[str, Any] = {}
        for _ in range(10):
            generation = Generation(beat)
            await generation.start(handover)
            await wait_until_async(lambda: len(generation.outcomes("beat")) >= 3)  # noqa: B023
            handover = await generation.end()
        assert [tick.n for tick in ticks] == list(range(1, len(ticks) + 1))
        assert in_step(ticks, 0.02)

    run(test)


def test_a_changed_interval_starts_anew_but_goes_on_counting() -> None:
    ticks: list[Tick] = []

    def beat(every: str) -> CronJob:
        async def beat(tick: Tick) -> None:
            ticks.append(tick)

        return cron(every=every)(beat)

    async def test() -> None:
        generation = Generation(beat("20ms"))
        await generation.start()
        await wait_until_async(lambda: len(ticks) >= 2)
        handover = await generation.end()
        ran = len(ticks)
        successor = Generation(beat("1h"))
        await successor.start(handover)
        (due,) = successor.points("cron.due")
        assert due["next"] > time.time() + 3500
        assert successor.points("cron.leads") == [{"leads": 1}]
        await successor.end()
        assert successor.points("cron.leads") == [{"leads": 1}, {"leads": 0}]
        again = Generation(beat("30ms"))
        await again.start(handover)
        await wait_until_async(lambda: len(ticks) > ran)
        await again.end()
        assert ticks[ran].n == ran + 1

    run(test)


def test_immediate_runs_at_the_start_but_not_again_after_a_rollout() -> None:
    ticks: list[Tick] = []

    @cron(every="1h", immediate=True)
    async def warm(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        first, second = Generation(warm), Generation(warm)
        await first.start()
        await wait_until_async(lambda: ticks)
        await second.start(await first.end())
        await second.end()
        assert len(ticks) == 1

    run(test)


def test_a_slow_sync_cron_holds_up_no_other() -> None:
    """Tasks, case 31, as the tests of steps, of immediate runs, of overlaps and of stops here."""
    release = threading.Event()
    beats: list[str] = []

    @cron(every="10ms", immediate=True)
    def slow(tick: Tick) -> None:
        release.wait(10)

    @cron(every="10ms")
    def beat(tick: Tick) -> None:
        beats.append(threading.current_thread().name)

    async def test() -> None:
        generation = Generation(slow, beat)
        await generation.start()
        await wait_until_async(lambda: len(beats) >= 10)
        assert generation.outcomes("slow") == []
        release.set()
        await generation.end()
        assert generation.outcomes("slow")[0] == "success"
        assert threading.main_thread().name not in beats

    run(test)


def test_what_is_bound_to_the_log_is_known_in_the_thread_too() -> None:
    known: ContextVar[str] = ContextVar("known", default="nothing")
    found: list[str] = []

    @cron(every="10ms")
    def look(tick: Tick) -> None:
        found.append(known.get())

    async def test() -> None:
        known.set("something")
        generation = Generation(look)
        await generation.start()
        await wait_until_async(lambda: found)
        await generation.end()
        assert set(found) == {"something"}

    run(test)


class Impatient(BaseException):
    """What not even `except Exception` catches."""


def test_a_failing_cron_is_told_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    beats: list[Tick] = []

    @cron(every="10ms")
    async def broken(tick: Tick) -> None:
        raise [ValueError, Impatient, SystemExit, asyncio.CancelledError][tick.n % 4]("no")

    @cron(every="10ms")
    def broken_in_thread(tick: Tick) -> None:
        raise SystemExit(3)

    @cron(every="10ms")
    async def beat(tick: Tick) -> None:
        beats.append(tick)

    async def test() -> None:
        generation = Generation(broken, broken_in_thread, beat)
        await generation.start()
        await wait_until_async(lambda: len(generation.outcomes("broken")) >= 8 and len(beats) >= 8)
        await wait_until_async(lambda: len(generation.outcomes("broken_in_thread")) >= 2)
        await generation.end()
        assert set(generation.outcomes("broken")) == {"failure"}
        assert set(generation.outcomes("broken_in_thread")) == {"failure"}
        assert set(generation.outcomes("beat")) == {"success"}

    with caplog.at_level(logging.ERROR):
        run(test)
    assert {record.getMessage() for record in caplog.records} == {
        "The cron pulse.broken failed.",
        "The cron pulse.broken_in_thread failed.",
    }


class Sick:
    """A trigger that is fine once."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is None:
            return now
        raise RuntimeError("the calendar is lost")


@pytest.mark.parametrize("error", [RuntimeError("no calendar"), SystemExit(3)])
def test_a_trigger_that_is_broken_from_the_start_refuses_the_generation(
    error: BaseException,
) -> None:
    class Broken:
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
            raise error

    @cron(trigger=Broken())
    async def sick(tick: Tick) -> None: ...

    async def test() -> None:
        with pytest.raises(
            PluginError, match=r"trigger of the cron pulse\.sick failed: "
        ) as caught:
            await Generation(sick).kind.prepare()
        assert repr(error) in str(caught.value)

    run(test)


def test_a_broken_trigger_ends_its_cron_alone(caplog: pytest.LogCaptureFixture) -> None:
    beats: list[Tick] = []

    @cron(trigger=Sick())
    async def sick(tick: Tick) -> None: ...

    @cron(every="10ms")
    async def beat(tick: Tick) -> None:
        beats.append(tick)

    async def test() -> None:
        generation = Generation(sick, beat)
        await generation.start()
        await wait_until_async(lambda: len(beats) >= 5)
        assert (await generation.end())["pulse.sick"] == {}

    run(test)
    assert caplog.messages == [
        "The trigger of the cron pulse.sick failed; it is not due again in this generation."
    ]


def test_a_run_that_overlaps_is_skipped_and_counted() -> None:
    release, running, ticks = asyncio.Event(), [0], []

    @cron(every="10ms")
    async def slow(tick: Tick) -> None:
        running[0] += 1
        ticks.append((tick, running[0]))
        await release.wait()
        running[0] -= 1

    async def test() -> None:
        generation = Generation(slow)
        await generation.start()
        await wait_until_async(lambda: len(generation.overlapped()) >= 3)
        release.set()
        await wait_until_async(lambda: len(ticks) >= 2)
        await generation.end()
        assert {at_once for _, at_once in ticks} == {1}
        # The next run is told how many went by
        assert ticks[1][0].missed >= 3
        assert in_step([tick for tick, _ in ticks], 0.01)

    run(test)


def test_a_run_that_goes_on_in_the_predecessor_counts_until_the_successor_is_alone() -> None:
    release = asyncio.Event()
    begun: list[str] = []

    def slow(generation: str) -> CronJob:
        @cron(every="10ms")
        async def slow(tick: Tick) -> None:
            begun.append(generation)
            await release.wait()

        return slow

    async def test() -> None:
        old, new, newest = Generation(slow("old")), Generation(slow("new")), Generation(slow("x"))
        await old.start()
        await wait_until_async(lambda: begun)
        handover = old.kind.retire()
        await new.start(handover, alone=False)
        await wait_until_async(lambda: len(new.overlapped()) >= 2)
        # It is handed on: the one after that does not know the first, and still it counts
        await newest.start(new.kind.retire(), alone=False)
        await wait_until_async(lambda: len(newest.overlapped()) >= 2)
        assert begun == ["old"]
        newest.workplace.when_alone()
        await wait_until_async(lambda: begun == ["old", "x"])
        release.set()
        for generation in (old, new, newest):
            await generation.end()

    run(test)


def test_in_a_queue_one_waits_and_comes_at_once() -> None:
    release, ticks = asyncio.Event(), []

    @cron(every="10ms", overlap="queue")
    async def slow(tick: Tick) -> None:
        ticks.append((tick, asyncio.get_running_loop().time()))
        await release.wait()

    async def test() -> None:
        generation = Generation(slow)
        await generation.start()
        await wait_until_async(lambda: len(generation.overlapped()) >= 2)
        assert len(ticks) == 1
        # When the run ends, the newest that waited runs, though none is due
        handover = generation.kind.retire()
        release.set()
        await generation.end()
        assert len(ticks) == 1
        # Or, after a drain, in the next generation
        successor = Generation(slow)
        await successor.start(handover)
        await wait_until_async(lambda: len(ticks) >= 2)
        await successor.end()
        assert in_step([tick for tick, _ in ticks], 0.01)

    run(test)


def test_what_waited_in_the_queue_runs_when_the_run_before_it_ends() -> None:
    gates, ticks = [asyncio.Event() for _ in range(3)], []

    @cron(every="10ms", overlap="queue")
    async def slow(tick: Tick) -> None:
        ticks.append(tick)
        await gates[min(tick.n, 3) - 1].wait()

    async def test() -> None:
        generation = Generation(slow)
        await generation.start()
        await wait_until_async(lambda: len(generation.overlapped()) >= 2)
        gates[0].set()
        await wait_until_async(lambda: len(ticks) == 2)
        for gate in gates:
            gate.set()
        await generation.end()
        assert in_step(ticks, 0.01)

    run(test)


def test_overlap_allowed_runs_side_by_side() -> None:
    release, running = asyncio.Event(), []

    @cron(every="10ms", overlap="allow")
    async def slow(tick: Tick) -> None:
        running.append(tick)
        await release.wait()

    async def test() -> None:
        generation = Generation(slow)
        await generation.start()
        await wait_until_async(lambda: len(running) >= 3)
        assert generation.outcomes("slow") == []
        release.set()
        await generation.end()
        assert len(generation.outcomes("slow")) == len(running)

    run(test)


def test_a_run_that_takes_too_long_is_cancelled_and_a_thread_is_waited_for() -> None:
    release, started = threading.Event(), []

    @cron(every="1h", immediate=True, timeout="10ms")
    async def slow(tick: Tick) -> None:
        await asyncio.Event().wait()

    @cron(every="10ms", timeout="10ms")
    def slow_in_thread(tick: Tick) -> None:
        started.append(tick)
        release.wait(10)

    @cron(every="1h", immediate=True, timeout="1h")
    async def times_out_itself(tick: Tick) -> None:
        raise TimeoutError("the server is slow")

    async def test() -> None:
        generation = Generation(slow, slow_in_thread, times_out_itself)
        await generation.start()
        await wait_until_async(lambda: generation.outcomes("slow") == ["timeout"])
        await wait_until_async(lambda: generation.outcomes("times_out_itself") == ["failure"])
        # The thread still runs, so the next run must not begin
        await wait_until_async(lambda: len(generation.overlapped()) >= 3)
        assert len(started) == 1
        release.set()
        await wait_until_async(lambda: generation.outcomes("slow_in_thread")[:1] == ["timeout"])
        await generation.end()

    run(test)


def test_behind_a_plain_decorator_a_coroutine_runs_and_a_generator_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A4: all runs of these counted as success, and nothing ran."""
    ran: list[int] = []

    def logged(function: Any) -> Any:
        return lambda tick: function(tick)

    @cron(every="20ms", name="beat")
    @logged
    async def beat(tick: Tick) -> None:
        ran.append(tick.n)

    @cron(every="20ms", name="late", timeout="50ms")
    @logged
    async def late(tick: Tick) -> None:
        await asyncio.sleep(60)

    @cron(every="20ms", name="generating")
    @logged
    async def generating(tick: Tick) -> Any:
        yield 1

    async def test() -> None:
        generation = Generation(beat, late, generating)
        await generation.start()
        await wait_until_async(
            lambda: all(map(generation.outcomes, ("beat", "late", "generating")))
        )
        await generation.end()
        assert ran
        assert set(generation.outcomes("beat")) == {"success"}
        assert generation.outcomes("late")[0] == "timeout"
        assert set(generation.outcomes("generating")) == {"failure"}
        assert "returned a generator: it has a `yield`" in caplog.text

    run(test)


def test_a_drain_lets_finish_what_runs_and_starts_nothing() -> None:
    release, ticks = asyncio.Event(), []

    @cron(every="10ms", immediate=True, overlap="allow")
    async def slow(tick: Tick) -> None:
        ticks.append(tick)
        await release.wait()

    async def test() -> None:
        generation = Generation(slow)
        await generation.start()
        await wait_until_async(lambda: len(ticks) >= 2)
        now = asyncio.get_running_loop().time
        handover = generation.kind.retire()
        drain = asyncio.ensure_future(generation.kind.drain(now() + 5))
        # Five more would be due in this time
        later = now() + 0.05
        await wait_until_async(lambda: now() > later)
        assert not drain.done()
        release.set()
        await drain
        await generation.kind.stop()
        # What was handed over when it retired is what has run at its end
        state = msgspec.convert(handover["pulse.slow"]["state"], CronState)
        assert state.n == len(ticks)
        assert generation.outcomes("slow") == ["success"] * len(ticks)

    run(test)


def test_what_does_not_finish_by_the_deadline_is_cut_off() -> None:
    stuck, cleaned = threading.Event(), []

    @cron(every="1h", immediate=True)
    async def slow(tick: Tick) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(tick)

    @cron(every="1h", immediate=True)
    def hangs(tick: Tick) -> None:
        stuck.wait(10)

    async def test() -> None:
        generation = Generation(slow, hangs)
        await generation.start()
        await wait_until_async(lambda: len(generation.points("cron.started")) == 2)
        await generation.end(grace=0.02)
        assert generation.outcomes("slow") == ["cancelled"]
        assert generation.outcomes("hangs") == ["cancelled"]
        assert cleaned

    run(test)
    # The thread outlives the loop, and ends without a word
    stuck.set()


def test_a_cron_that_stops_itself_is_due_no_more_until_a_rollout() -> None:
    ticks: list[int] = []
    beats: list[Tick] = []

    class Thrice(CronJob):
        every = "10ms"

        async def run(self, tick: Tick) -> None:
            ticks.append(tick.n)
            if tick.n == 3:
                self.stop()

    @cron(every="10ms")
    async def beat(tick: Tick) -> None:
        beats.append(tick)

    async def test() -> None:
        generation = Generation(Thrice, beat)
        await generation.start()
        await wait_until_async(lambda: len(ticks) == 3)
        later = len(beats) + 5
        await wait_until_async(lambda: len(beats) >= later)
        assert len(ticks) == 3
        # The next generation has loaded it anew
        successor = Generation(Thrice, beat)
        await successor.start(await generation.end())
        await wait_until_async(lambda: len(ticks) == 6)
        await successor.end()
        assert ticks == [1, 2, 3, 1, 2, 3]

    run(test)


class Shifted:
    """A wall clock that can be set, and a monotonic one that cannot."""

    def __init__(self, start: float) -> None:
        self._start = start - time.monotonic()
        self.clocks = Clocks(wall=lambda: self._start + time.monotonic())

    def set_by(self, seconds: float) -> None:
        self._start += seconds


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_jump_is_noticed_and_leaves_intervals_alone(
    jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Tasks, case 33."""
    ticks: list[float] = []
    wall = Shifted(NOON + 1)

    @cron(every="10ms")
    async def beat(tick: Tick) -> None:
        ticks.append(time.monotonic())

    @cron("0 * * * *")
    async def hourly(tick: Tick) -> None: ...

    async def test() -> None:
        generation = Generation(beat, hourly, clocks=wall.clocks)
        await generation.start()
        await wait_until_async(lambda: len(ticks) >= 5)
        wall.set_by(jump)
        before = len(ticks)
        await wait_until_async(lambda: len(ticks) >= before + 10)
        await generation.end()
        # No burst: no more runs than fit into the time
        assert len(ticks) <= (ticks[-1] - ticks[0]) / 0.01 + 2
        (jumped,) = generation.points("cron.clock_jumped")
        assert jumped["seconds"] == pytest.approx(jump, abs=0.1)
        due = [f["next"] for f in generation.points("cron.due") if f["cron"] == "pulse.hourly"]
        assert due[-1] == NOON + (7200 if jump > 0 else 0)

    run(test)
    assert any("The wall clock jumped by" in message for message in caplog.messages)


def test_a_cron_string_runs_at_the_new_time_once() -> None:
    ticks: list[Tick] = []
    wall = Shifted(NOON - 1800)

    @cron("0 12 * * *", tz="Asia/Tokyo")
    async def elsewhere(tick: Tick) -> None:
        raise AssertionError("noon in Tokyo is long past")

    @cron("0 12 * * *")
    async def noon(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        generation = Generation(elsewhere, noon, clocks=wall.clocks)
        await generation.start()
        # A second from noon at most; the clock is looked at once a second
        wall.set_by(1800 - 0.05)
        await wait_until_async(lambda: ticks)
        await generation.end()
        assert [tick.scheduled_at for tick in ticks] == [datetime.fromtimestamp(NOON, UTC)]
        assert generation.outcomes("elsewhere") == []

    run(test)


def test_without_crons_there_is_nothing_to_do() -> None:
    async def test() -> None:
        generation = Generation()
        await generation.start()
        assert await generation.end() == {}

    run(test)


def test_a_worker_that_never_accepted_has_nothing_to_hand_over() -> None:
    @cron(every="10ms")
    async def beat(tick: Tick) -> None: ...

    async def test() -> None:
        generation = Generation(beat)
        await generation.kind.prepare()
        assert await generation.end() == {}
        assert generation.told == []

    run(test)
