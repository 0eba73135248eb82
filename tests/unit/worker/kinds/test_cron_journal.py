"""A timer that is killed, and what its successor makes of the journal."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skep.api.cron import CronJob, Tick, cron
from skep.base.errors import TableError
from skep.table.binding import Tables
from skep.table.journal import CronJournal, CronRun
from skep.wire.messages import CronAnswer, CronOrder
from skep.worker.cron.runner import Clocks
from tests.support import wait_until_async
from tests.unit.worker.kinds.test_cron import Generation, run

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


@dataclass
class FakeClocks:
    """Clocks that stand until they are moved."""

    wall: float = NOON
    monotonic: float = 1000.0
    clocks: Clocks = field(init=False)

    def __post_init__(self) -> None:
        self.clocks = Clocks(lambda: self.wall, lambda: self.monotonic, "boot")

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


class Timers:
    """Timers that follow one another over the same journal."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClocks()
        self.tables = Tables(folder, run="run 1")
        self._folder = folder

    @property
    def journal(self) -> CronJournal:
        return CronJournal(self.tables)

    async def start(self, *crons: CronJob, **how: Any) -> Generation:
        generation = Generation(*crons, clocks=self.clock.clocks)
        generation.workplace.tables = self.tables
        generation.kind = type(generation.kind)(generation.workplace, self.clock.clocks)
        await generation.start(**how)
        return generation

    def platform_restarts(self) -> None:
        """The platform is started again."""
        self.tables.close()
        self.tables = Tables(self._folder, run=f"run {time.monotonic_ns()}")


def kill(generation: Generation) -> None:
    """From here on the timer does and writes nothing, as if it were killed."""
    generation.kind._record._journal = None
    generation.kind._stop_clock()


async def tick(generation: Generation) -> None:
    """Let the timer look at the clock, and its runs come up."""
    generation.kind._wake()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.fixture
def timers(tmp_path: Path) -> Iterator[Timers]:
    made = Timers(tmp_path / "tables")
    yield made
    made.tables.close()


def outcomes(timers: Timers, name: str = "pulse.beat") -> list[str]:
    return [run.outcome for run in timers.journal.runs(name)]


def test_a_run_is_in_the_history_with_what_it_raised_masked(timers: Timers) -> None:
    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        if tick.n == 2:
            raise ValueError("password=hunter2 is wrong\nand more")

    async def test() -> None:
        timer = await timers.start(beat)
        for _ in range(3):
            timers.clock.advance(10.002)
            await tick(timer)
        await wait_until_async(lambda: len(timer.outcomes("beat")) == 3)
        first, second, third = timers.journal.runs("pulse.beat")
        assert (first.n, first.outcome, first.error) == (1, "success", "")
        assert first.scheduled == pytest.approx(NOON + 10)
        assert first.begun == pytest.approx(NOON + 10.002)
        assert second.outcome == "failure"
        assert second.error.startswith("ValueError: password=")
        assert "hunter2" not in second.error
        assert "more" not in second.error
        assert third.missed == 0
        await timer.end()

    run(test)


def test_what_was_due_when_the_timer_was_killed_runs_in_its_successor(timers: Timers) -> None:
    ticks: list[Tick] = []

    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        first = await timers.start(beat)
        timers.clock.advance(10)
        await tick(first)
        kill(first)
        timers.clock.advance(14)  # it was due at 20
        second = await timers.start(beat)
        await tick(second)
        assert [(one.n, one.missed) for one in ticks] == [(1, 0), (2, 0)]
        assert ticks[1].scheduled_at.timestamp() == pytest.approx(NOON + 20)
        kill(second)
        timers.clock.advance(50)  # at 30, 40, 50, 60 and 70: the last is within the grace
        third = await timers.start(beat)
        await tick(third)
        assert [(one.n, one.missed) for one in ticks[2:]] == [(3, 4)]
        assert third.points("cron.misfired") == [
            {"cron": "pulse.beat", "reason": "late", "count": 4}
        ]
        await third.end()

    run(test)


def test_a_run_that_was_cut_by_a_kill_is_counted_and_not_repeated(
    timers: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[Tick] = []

    @cron(every="10s", overlap="skip")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)
        await asyncio.Event().wait()

    async def test() -> None:
        first = await timers.start(beat)
        timers.clock.advance(10)
        await tick(first)
        assert outcomes(timers) == ["running"]
        kill(first)
        # While another process may still run it, it counts as running
        second = await timers.start(beat, alone=False)
        timers.clock.advance(10)
        await tick(second)
        assert second.points("cron.misfired")[0]["reason"] == "overlap"
        assert len(ticks) == 1
        second.workplace.when_alone()
        assert outcomes(timers) == ["interrupted"]
        assert second.points("cron.cut") == [{"cron": "pulse.beat", "outcome": "interrupted"}]
        timers.clock.advance(10)
        await tick(second)
        assert [(one.n, one.missed) for one in ticks] == [(1, 0), (2, 1)]
        # Only once
        second.workplace.when_alone()
        assert len(second.points("cron.cut")) == 1
        await second.end(grace=0)
        assert outcomes(timers) == ["interrupted", "cancelled"]

    run(test)
    assert "Run 1 of the cron pulse.beat" in caplog.text
    assert "It is not repeated." in caplog.text


def test_a_predecessor_that_drains_ends_its_run_itself(timers: Timers) -> None:
    release = asyncio.Event()

    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        await release.wait()

    async def test() -> None:
        old = await timers.start(beat)
        timers.clock.advance(10)
        await tick(old)
        new = await timers.start(beat, handover=old.kind.retire(), alone=False)
        release.set()
        await old.end()
        new.workplace.when_alone()
        assert outcomes(timers) == ["success"]
        assert new.points("cron.cut") == []
        await new.end()

    run(test)


@pytest.mark.parametrize(("misfire", "runs"), [("once", 1), ("skip", 0)])
def test_a_platform_that_was_down_over_a_moment(timers: Timers, misfire: Any, runs: int) -> None:
    """A14."""
    ticks: list[Tick] = []

    @cron("0 * * * *", misfire=misfire)
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        await (await timers.start(beat)).end()
        timers.platform_restarts()
        timers.clock.advance(1.5 * HOUR)
        timer = await timers.start(beat)
        await tick(timer)
        assert len(ticks) == runs
        assert [one.scheduled_at.timestamp() for one in ticks] == [NOON + HOUR] * runs
        late = [f["count"] for f in timer.points("cron.misfired")]
        assert late == [1] * (1 - runs)
        # The next run is told
        timers.clock.advance(0.5 * HOUR)
        await tick(timer)
        assert ticks[-1].missed == 1 - runs
        await timer.end()

    run(test)


def test_a_daily_cron_runs_though_the_platform_starts_every_hour(timers: Timers) -> None:
    """A14: `every="24h"` with restarts more often than that."""
    ticks: list[Tick] = []

    @cron(every="24h")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        for _ in range(50):
            timer = await timers.start(beat)
            timers.clock.advance(HOUR - 60)
            await tick(timer)
            await timer.end()
            timers.platform_restarts()
            timers.clock.advance(60)
        assert [one.n for one in ticks] == [1, 2]

    run(test)


def test_immediate_runs_at_every_start_of_the_platform_but_not_of_the_timer(
    timers: Timers,
) -> None:
    ticks: list[Tick] = []

    @cron(every="1h", immediate=True)
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        first = await timers.start(beat)
        await tick(first)
        kill(first)
        second = await timers.start(beat)
        await tick(second)
        assert len(ticks) == 1
        kill(second)
        timers.platform_restarts()
        timers.clock.advance(2.5 * HOUR)
        third = await timers.start(beat)
        await tick(third)
        # It makes up for what was due in between
        assert [(one.n, one.missed) for one in ticks] == [(1, 0), (2, 2)]
        await third.end()

    run(test)


def test_other_terms_start_again_and_the_number_goes_on(timers: Timers) -> None:
    ticks: list[Tick] = []

    def beat(every: str) -> CronJob:
        async def beat(tick: Tick) -> None:
            ticks.append(tick)

        return cron(every=every)(beat)

    async def test() -> None:
        first = await timers.start(beat("10s"))
        timers.clock.advance(10)
        await tick(first)
        kill(first)
        timers.clock.advance(9)
        second = await timers.start(beat("20s"))
        timers.clock.advance(19)
        await tick(second)
        assert len(ticks) == 1
        timers.clock.advance(1)
        await tick(second)
        assert [one.n for one in ticks] == [1, 2]
        await second.end()

    run(test)


def test_a_clock_that_jumps_while_the_timer_is_replaced(timers: Timers) -> None:
    """Tasks, case 33, over a kill: no burst and no stall."""
    beats: list[Tick] = []
    hours: list[Tick] = []

    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        beats.append(tick)

    @cron("0 * * * *")
    async def hourly(tick: Tick) -> None:
        hours.append(tick)

    async def test() -> None:
        timer = await timers.start(beat, hourly)
        for jump in (HOUR, -2 * HOUR):
            kill(timer)
            timers.clock.wall += jump
            timers.clock.advance(10)
            timer = await timers.start(beat, hourly)
            await tick(timer)
        assert [one.missed for one in beats] == [0, 0]
        # 13:00:10 by the new time, within the grace; then it is 11:00:20, and 12:00 comes next
        assert [one.scheduled_at.timestamp() for one in hours] == [NOON + HOUR]
        due = [f["next"] for f in timer.points("cron.due") if f["cron"] == "pulse.hourly"]
        assert due[-1] == NOON
        await timer.end()

    run(test)


def test_a_cron_that_its_code_has_stopped_stays_so_after_a_kill(timers: Timers) -> None:
    ticks: list[Tick] = []

    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)
        beat.stop()

    async def test() -> None:
        first = await timers.start(beat)
        timers.clock.advance(10)
        await tick(first)
        await tick(first)
        timers.clock.advance(1)
        await tick(first)
        kill(first)
        beat.stopped = False
        second = await timers.start(beat)
        timers.clock.advance(10)
        await tick(second)
        assert len(ticks) == 1
        assert command(second, "start") == CronAnswer(1, "pulse.beat is due again.")
        timers.clock.advance(10)
        await tick(second)
        assert len(ticks) == 2
        await second.end()
        # In the next generation it is due anyway
        beat.stopped = False
        third = await timers.start(beat)
        third.workplace.generation = 2
        await third.end()

    run(test)


def command(timer: Generation, verb: Any, name: str = "pulse.beat") -> CronAnswer:
    return timer.workplace.cron_order(CronOrder(1, verb, name))


def test_stopped_by_hand_it_stays_so_until_it_is_started(timers: Timers) -> None:
    ticks: list[Tick] = []

    @cron(every="10s", immediate=True)
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        timer = await timers.start(beat)
        await tick(timer)
        assert command(timer, "stop").sentence.startswith("pulse.beat is stopped")
        assert timer.points("cron.stopped")[-1]["stopped"] == 1
        assert "already" in command(timer, "stop").sentence
        # Over a rollout, a kill, and a start of the platform
        timer = await timers.start(beat, handover=await timer.end())
        timers.clock.advance(25)
        await tick(timer)
        kill(timer)
        timer = await timers.start(beat)
        await tick(timer)
        await timer.end()
        timers.platform_restarts()
        timer = await timers.start(beat)
        timers.clock.advance(30)
        await tick(timer)
        assert len(ticks) == 1
        # It can be run; and then it is due in step with its start, and nothing was missed
        assert command(timer, "run").sentence == "pulse.beat runs; that is run 2."
        assert command(timer, "start").sentence == "pulse.beat is due again."
        assert "was not stopped" in command(timer, "start").sentence
        await tick(timer)
        assert len(ticks) == 2
        timers.clock.advance(5)
        await tick(timer)
        assert [(one.n, one.missed) for one in ticks] == [(1, 0), (2, 0), (3, 0)]
        assert ticks[2].scheduled_at.timestamp() == pytest.approx(NOON + 60)
        assert timer.points("cron.misfired") == []
        await timer.end()

    run(test)


def test_orders_that_are_refused(timers: Timers) -> None:
    release = asyncio.Event()

    @cron(every="1h")
    async def beat(tick: Tick) -> None:
        await release.wait()

    @cron(every="1h", overlap="queue")
    async def line(tick: Tick) -> None:
        await release.wait()

    async def test() -> None:
        timer = await timers.start(beat, line)
        unknown = command(timer, "stop", "pulse.beet")
        assert unknown.code == "usage"
        assert unknown.refusal == (
            "No plugin has a cron pulse.beet. Did you mean pulse.beat? The crons are: "
            "pulse.beat, pulse.line."
        )
        command(timer, "run")
        assert command(timer, "run").code == "running"
        command(timer, "run", "pulse.line")
        assert command(timer, "run", "pulse.line").sentence == (
            "pulse.line still runs; it runs again when that ends."
        )
        release.set()
        await wait_until_async(lambda: timer.outcomes("line") == ["success"] * 2)
        assert [one.by_hand for one in timers.journal.runs("pulse.beat")] == [True]
        await timer.end()
        assert command(timer, "run").code == "busy"

    run(test)


def test_without_a_journal_crons_run_and_the_platform_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[Tick] = []
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "live.mdb").write_bytes(b"\xff" * 20_000)
    # Another process uses the file, so it cannot be replaced
    other = Tables(tmp_path / "other")

    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        timers = Timers(folder)

        def unusable() -> Any:
            raise TableError("The file of the tables is damaged.")

        timers.tables.reading = timers.tables.writing = unusable  # type: ignore[method-assign]
        timer = await timers.start(beat)
        handover: Mapping[str, Any] = {}
        for _ in range(3):
            timers.clock.advance(10)
            await tick(timer)
            handover = await timer.end()
            assert "is damaged" in timer.workplace.trouble()
            timer = await timers.start(beat, handover=handover)
        assert [one.n for one in ticks] == [1, 2, 3]
        await timer.end()

    run(test)
    other.close()
    assert "Crons run, but their moments are not kept" in caplog.text


def test_without_room_on_the_disk_nothing_is_written(
    timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page without room would kill the timer that writes it."""
    ticks: list[Tick] = []

    @cron(every="10s")
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        def full(size: int) -> None:
            raise TableError("The tables need 16 MiB: No space left on device.")

        monkeypatch.setattr(timers.tables.environment, "reserve", full)
        timer = await timers.start(beat)
        timers.clock.advance(10)
        await tick(timer)
        assert len(ticks) == 1
        assert "No space left" in timer.workplace.trouble()
        assert timers.journal.runs("pulse.beat") == []
        assert timers.journal.states() == {}
        await timer.end()

    run(test)


class Killed(BaseException):
    """The timer dies here."""


class DyingJournal(CronJournal):
    """Kills the timer at the write with this number, before it or after it."""

    def __init__(self, tables: Tables, left: int, *, after: bool) -> None:
        super().__init__(tables)
        self._left = left
        self._after = after

    @property
    def dead(self) -> bool:
        return self._left < 0

    def begin(self, *arguments: Any) -> None:
        self._write(super().begin, *arguments)

    def write(self, *arguments: Any) -> None:
        self._write(super().write, *arguments)

    def keep(self, *arguments: Any) -> None:
        self._write(super().keep, *arguments)

    def _write(self, write: Any, *arguments: Any) -> None:
        if self.dead:
            raise Killed
        self._left -= 1
        if self._after or not self.dead:
            write(*arguments)
        if self.dead:
            raise Killed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
def test_a_kill_at_any_write_neither_loses_nor_repeats_a_moment(
    timers: Timers, overlap: Any, after: bool
) -> None:
    ticks: list[Tick] = []
    cut: dict[int, CronRun] = {}

    @cron(every="10s", overlap=overlap)
    async def beat(tick: Tick) -> None:
        ticks.append(tick)

    async def test() -> None:
        for number in range(8):
            timer = await timers.start(beat)
            cut.update({r.n: r for r in timers.journal.runs("pulse.beat") if "int" in r.outcome})
            journal = DyingJournal(timers.tables, number, after=after)
            timer.kind._record._journal = journal
            with suppress(Killed):
                while not journal.dead:
                    timers.clock.advance(10)
                    await tick(timer)
            timer.kind._stop_clock()
        timer = await timers.start(beat)
        cut.update({r.n: r for r in timers.journal.runs("pulse.beat") if "int" in r.outcome})
        timers.clock.advance(10)
        await tick(timer)
        begun = {one.n for one in ticks}
        assert begun | cut.keys() == set(range(1, ticks[-1].n + 1))
        assert len(begun) == len(ticks)
        moments = [round(one.scheduled_at.timestamp() - NOON) for one in ticks]
        assert len(set(moments)) == len(moments)
        # Every moment has a run, is told to a run as missed, or its run was cut
        unknown = cut.keys() - begun
        missed = sum(one.missed for one in ticks) + sum(cut[n].missed for n in unknown)
        assert len(ticks) + len(unknown) + missed == moments[-1] / 10
        await timer.end()

    run(test)
