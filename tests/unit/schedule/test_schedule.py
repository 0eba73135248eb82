"""The schedule with a clock of the test and real commands."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skep.base.telemetry import Telemetry
from skep.schedule import journal
from skep.schedule.crontab import parse
from skep.schedule.schedule import Schedule
from tests.support import wait_until_async

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


class World:
    """A schedule, its clock, and what it has reported."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = NOON
        self.points: list[tuple[str, dict[str, Any]]] = []
        self.schedule = self.another()

    def another(self) -> Schedule:
        """The schedule of a next process: it has the journal of the one before and no more."""
        telemetry = Telemetry()
        for name in ("cron.started", "cron.finished", "cron.cut", "cron.misfired"):
            telemetry.subscribe(name, lambda fields, n=name: self.points.append((n, fields)))  # type: ignore[misc]
        self.schedule = Schedule(
            self.kept(),
            telemetry,
            {"PATH": os.environ["PATH"], "OUT": str(self.directory)},
            lambda: self.now,
            lambda: None,
        )
        return self.schedule

    def take(self, *lines: str) -> None:
        self.schedule.take(parse("\n".join(lines), "jobs", UTC))

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.schedule.look()

    async def ended(self) -> None:
        await wait_until_async(lambda: not self.schedule.runs)

    def kept(self) -> journal.Journal:
        return journal.opened(self.directory / "journal.json")

    def outcomes(self) -> list[str]:
        return [fields["outcome"] for name, fields in self.points if "outcome" in fields]

    def missed(self, reason: str) -> int:
        misfires = [fields for name, fields in self.points if name == "cron.misfired"]
        return sum(fields["count"] for fields in misfires if fields["reason"] == reason)

    def written(self) -> list[str]:
        out = self.directory / "out"
        return out.read_text().split() if out.exists() else []


Check = Callable[[World], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Check], None]:
    async def in_a_world(check: Check) -> None:
        world = World(tmp_path)
        try:
            await check(world)
        finally:
            await world.schedule.stop()

    return lambda check: asyncio.run(in_a_world(check))


Run = Callable[[Check], None]
BLOCKED = 'while [ ! -e "$OUT/go" ]; do sleep 0.02; done; echo end >> "$OUT/out"'


def test_a_command_runs_at_its_moment_and_once(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("* * * * * echo x >> $OUT/out")
        assert world.schedule.wait() == 60
        world.look(59.9)
        assert not world.schedule.runs
        world.look(0.2)
        world.look(0.2)
        await world.ended()
        assert (world.written(), world.outcomes()) == (["x"], ["success"])
        (command,) = world.schedule.document()
        assert command["last"] == {"ended": world.now, "outcome": "success"}
        assert command["next"] == NOON + 120

    run(check)


def test_outcomes_are_those_of_the_command(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("* * * * * exit 3", "* * * * * kill -9 $$", "HOME=/no/where\n* * * * * true")
        world.look(60)
        await world.ended()
        assert world.outcomes() == ["failure"] * 3

    run(check)


def test_a_run_that_takes_too_long_is_ended(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("# platform: timeout=50ms", "* * * * * sleep 100")
        world.look(60)
        await world.ended()
        assert world.outcomes() == ["timeout"]

    run(check)


@pytest.mark.parametrize(
    ("overlap", "runs", "skipped"), [("skip", 1, 2), ("queue", 2, 1), ("allow", 3, 0)]
)
def test_what_is_due_while_it_runs(run: Run, overlap: str, runs: int, skipped: int) -> None:
    async def check(world: World) -> None:
        world.take(f"# platform: overlap={overlap}", f"* * * * * {BLOCKED}")
        for _ in range(3):
            world.look(60)
        (world.directory / "go").touch()
        await world.ended()
        assert world.written() == ["end"] * runs
        assert world.missed("overlap") == skipped

    run(check)


def test_a_changed_file_leaves_runs_and_moments_alone(run: Run) -> None:
    async def check(world: World) -> None:
        world.take(
            "# platform: name=a", f"* * * * * {BLOCKED}", "# platform: name=b", "@daily true"
        )
        world.look(60)
        world.now += 50
        world.take("# platform: name=a", "* * * * * echo new >> $OUT/out")
        assert len(world.schedule.runs) == 1
        assert [c["name"] for c in world.schedule.document()] == ["a"]
        world.look(10)
        # The run of before counts for the overlap, and the moments go on.
        assert world.missed("overlap") == 1
        (world.directory / "go").touch()
        await world.ended()
        world.look(60)
        await world.ended()
        assert world.written() == ["end", "new"]

    run(check)


def test_a_command_with_other_times_begins_now(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("# platform: name=a misfire=once", "0 11 * * * echo x >> $OUT/out")
        world.now += 3600
        world.take("# platform: name=a misfire=once", "30 12 * * * echo x >> $OUT/out")
        world.look()
        assert not world.schedule.runs

    run(check)


@pytest.mark.parametrize(
    ("misfire", "outcomes", "late"), [("skip", [], 3), ("once", ["success"], 2)]
)
def test_moments_without_a_schedule_are_judged_by_the_next(
    run: Run, misfire: str, outcomes: list[str], late: int
) -> None:
    async def check(world: World) -> None:
        lines = (f"# platform: misfire={misfire}", "0 * * * * true")
        world.take(*lines)
        world.now += 3 * 3600 + 120
        world.another()
        world.schedule.recover()
        world.take(*lines)
        world.look()
        await world.ended()
        assert (world.outcomes(), world.missed("late")) == (outcomes, late)

    run(check)


def test_a_moment_that_waits_is_not_lost_with_the_schedule(run: Run) -> None:
    async def check(world: World) -> None:
        lines = ("# platform: overlap=queue", f"* * * * * {BLOCKED}")
        world.take(*lines)
        world.look(60)
        world.look(60)
        world.schedule.close()
        (world.directory / "go").touch()
        await world.ended()
        assert world.written() == ["end"]
        world.another()
        world.take(*lines)
        world.look(1)
        await world.ended()
        assert world.written() == ["end", "end"]

    run(check)


def test_the_next_schedule_knows_the_runs_of_a_killed_one(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("# platform: overlap=skip name=a", f"* * * * * {BLOCKED}")
        world.look(115)
        former = world.schedule
        await wait_until_async(lambda: any(run.pid for run in world.kept().runs))
        world.another()
        world.schedule.recover()
        assert world.outcomes() == ["interrupted"]
        world.take("# platform: overlap=skip name=a", "* * * * * echo new >> $OUT/out")
        # Its process is not gone yet.
        world.look(6)
        assert world.missed("overlap") == 1
        (pid,) = former.document()[0]["pids"]
        os.killpg(pid, signal.SIGKILL)
        await wait_until_async(lambda: not former.runs)
        world.look(60)
        await world.ended()
        assert world.written() == ["new"]

    run(check)


def test_a_damaged_journal_begins_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    for damaged in (b"", b"{}", b'{"moments": 3}', b"\xff", b"[1]"):
        path.write_bytes(damaged)
        assert journal.opened(path) == journal.Journal(path)


def test_a_journal_that_cannot_be_written_does_not_stop_the_commands(run: Run) -> None:
    async def check(world: World) -> None:
        world.schedule.journal.path = world.directory / "file" / "journal.json"
        (world.directory / "file").touch()
        world.take("* * * * * true")
        world.look(60)
        await world.ended()
        assert world.outcomes() == ["success"]

    run(check)


def test_commands_for_the_start_run_when_asked(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("@reboot echo up >> $OUT/out")
        world.look(3600)
        assert not world.schedule.runs
        world.schedule.start_of_platform()
        await world.ended()
        assert world.written() == ["up"]

    run(check)


def test_a_stop_ends_all_runs(run: Run) -> None:
    async def check(world: World) -> None:
        world.take("* * * * * sleep 100", "* * * * * sleep 100")
        world.look(60)
        await wait_until_async(
            lambda: all(c["pids"] not in ([], [0]) for c in world.schedule.document())
        )
        world.schedule.close()
        await world.schedule.stop()
        assert world.outcomes() == ["cancelled"] * 2
        assert world.kept().runs == []

    run(check)
