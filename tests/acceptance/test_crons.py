"""Crons on a real platform: no moment is lost, whatever is killed, hangs, restarts or is down."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.clockwork import Clockwork
from tests.platform_process import Platform
from tests.support import wait_until

KILLS = 6


@pytest.fixture(scope="module")
def clockwork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clockwork]:
    """A platform that runs; each test looks at crons of its own."""
    made = Clockwork(Platform(tmp_path_factory.mktemp("clock"), PLATFORM_CRON_HANG="2"))
    made.platform.start()
    try:
        yield made
    finally:
        made.platform.stop()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Clockwork]:
    """A platform of the test's own, not started."""
    made = Clockwork(Platform(tmp_path))
    try:
        yield made
    finally:
        made.platform.stop()


def crons(clockwork: Clockwork) -> dict[str, dict[str, object]]:
    """Return what `platform cron ls` shows, by name."""
    done = clockwork.platform.cli("cron", "ls", "--json")
    assert done.returncode == 0, done.stderr
    return {one["name"].removeprefix("clock."): one for one in json.loads(done.stdout)}


def test_kills_around_due_moments_lose_and_repeat_none(clockwork: Clockwork) -> None:
    """Of an interval and of a cron string; 100 kills are in `make bench`."""
    seed = random.Random(13)
    for _ in range(KILLS):
        clockwork.kill("cron.0", seed, ("quick", "second", "strict"))
    assert len({note.pid for note in clockwork.check("quick", 0.1)}) >= KILLS
    seconds = clockwork.check("second", 1.0)
    assert all(note.scheduled % 1 == 0 for note in seconds)
    clockwork.check("strict", 0.1)
    # What was cut is counted, and the log says so
    counters = clockwork.platform.counters()
    cut = sum(len(runs) for runs in clockwork.cut.values())
    counted = sum(n for name, n in counters.items() if 'outcome="interrupted"' in name)
    assert counted >= cut
    assert cut == 0 or "its process ended before it did" in clockwork.platform.output()


def test_moments_in_tasks_run_once_though_timers_and_workers_are_killed(
    clockwork: Clockwork,
) -> None:
    seed = random.Random(14)
    for slot in ("task.0", "cron.0", "task.0", "cron.0"):
        clockwork.kill(slot, seed, ("far",))
    notes = clockwork.wait_for("far", 3)
    clockwork.collect_cut("far")
    wait_until(lambda: clockwork.runs("clock.far")[-1].n > notes[-1].n)
    clockwork.collect_cut("far")
    clockwork.check("far", 0.2)
    workers = set(clockwork.platform.pids("task").values())
    assert {note.pid for note in notes[-3:]} <= workers
    name = 'platform_cron_runs_total{cron="clock.far",outcome="success"}'
    wait_until(lambda: clockwork.platform.counters()[name] > 0)


def test_a_cron_that_hangs_is_named_and_the_others_go_on(clockwork: Clockwork) -> None:
    platform = clockwork.platform
    (before,) = platform.pids("cron.0").values()
    done = platform.cli("cron", "run", "clock.hang")
    assert (done.returncode, done.stdout) == (0, "clock.hang runs; that is run 1.\n")
    wait_until(lambda: next(iter(platform.pids("cron.0").values()), before) != before)
    begun = clockwork.notes("hang")
    clockwork.wait_for("quick", 5)
    # It is not begun again, and its run is over
    assert len(clockwork.notes("hang")) == len(begun) == 1
    (run,) = clockwork.runs("clock.hang")
    assert (run.outcome, run.by_hand) == ("hung", True)
    assert run.error == "it blocked the event loop for 2 s"
    output = platform.output()
    assert "The cron clock.hang has blocked the event loop of the timer for 2 s" in output
    assert "time.sleep(60)" in output
    # The others have made up for their moments: the last one, and the rest is counted
    clockwork.collect_cut("quick")
    clockwork.check("quick", 0.1)
    counters = platform.counters()
    assert counters['platform_cron_hangs_total{cron="clock.hang"}'] == 1
    assert counters['platform_cron_runs_total{cron="clock.hang",outcome="hung"}'] == 1
    assert counters['platform_worker_exits_total{pool="cron",reason="hang"}'] == 1


def test_a_cron_is_listed_run_stopped_and_started_by_hand(clockwork: Clockwork) -> None:
    platform = clockwork.platform
    clockwork.wait_for("second", 2)
    listed = crons(clockwork)
    assert listed["second"]["when"] == "cron * * * * * * UTC"
    assert listed["second"]["state"] in ("ready", "running")
    assert listed["second"]["runs"]
    done = platform.cli("cron", "stop", "clock.second")
    assert done.stdout.startswith("clock.second is stopped until")
    count = len(clockwork.notes("second"))
    assert crons(clockwork)["second"]["state"] == "stopped"
    assert 'platform_cron_stopped{cron="clock.second"} 1' in _metrics(platform)
    # Over a rollout, too
    assert platform.cli("reload").returncode == 0
    clockwork.wait_for("quick", 15)
    assert len(clockwork.notes("second")) == count
    assert crons(clockwork)["second"]["next"] is None
    platform.cli("cron", "start", "clock.second")
    first = clockwork.wait_for("second")[count]
    assert first.missed == 0
    assert 'platform_cron_stopped{cron="clock.second"} 0' in _metrics(platform)


def _metrics(platform: Platform) -> str:
    text = platform.metrics()
    return text.replace("1.0\n", "1\n").replace("0.0\n", "0\n")


def test_a_failure_is_in_the_history_on_one_line(clockwork: Clockwork) -> None:
    platform = clockwork.platform
    platform.cli("cron", "run", "clock.broken")
    wait_until(lambda: [run for run in clockwork.runs("clock.broken") if not run.unfinished])
    (run,) = json.loads(platform.cli("cron", "history", "clock.broken", "--json").stdout)
    assert (run["n"], run["outcome"], run["error"]) == (1, "failure", "ValueError: no")
    text = platform.cli("cron", "history", "clock.broken").stdout
    assert "ValueError: no" in text
    assert "by hand" in text


def test_a_name_that_is_not_known_is_refused_with_one_that_is_near(clockwork: Clockwork) -> None:
    for verb in ("run", "stop", "start", "history"):
        done = clockwork.platform.cli("cron", verb, "clock.brokn")
        assert done.returncode == 2
        assert "Did you mean clock.broken? The crons are: " in done.stderr


def test_a_cron_stops_itself_until_the_next_rollout(clockwork: Clockwork) -> None:
    """Tasks, case 31; and it stays so when the timer is killed."""
    wait_until(lambda: crons(clockwork)["Shy"]["state"] == "ended")
    stopped = len(clockwork.notes("shy"))
    clockwork.kill("cron.0", random.Random(1), ("quick", "shy"))
    clockwork.wait_for("quick", 5)
    assert len(clockwork.notes("shy")) == stopped
    assert clockwork.platform.cli("reload").returncode == 0
    wait_until(lambda: len(clockwork.notes("shy")) > stopped)
    wait_until(lambda: crons(clockwork)["Shy"]["state"] == "ended")


def test_a_platform_that_was_down_over_moments(fresh: Clockwork) -> None:
    """A14: `misfire`, `grace`, and an interval that is longer than the platform ever runs."""
    platform = fresh.platform
    platform.start()
    fresh.wait_for("made_up")
    fresh.wait_for("strict")
    first_due = fresh.state("clock.daily").due
    platform.stop()
    down = time.time()
    listed = crons(fresh)
    assert listed["made_up"]["runs"] == len(fresh.notes("made_up"))
    assert platform.cli("cron", "history", "clock.strict").returncode == 0
    assert platform.cli("cron", "run", "clock.strict").returncode == 3
    # Two moments of it pass
    until = (down // 2 + 2) * 2 + 0.1
    wait_until(lambda: time.time() > until)
    strict, made_up = len(fresh.notes("strict")), len(fresh.notes("made_up"))
    platform.start()
    up = fresh.wait_for("strict")[strict]
    # Longer ago than the grace: none of them runs, and all are counted
    assert up.missed >= 1
    wait_until(lambda: len(fresh.notes("made_up")) > made_up)
    made = fresh.notes("made_up")[made_up]
    assert down < made.scheduled <= until + 30
    assert made.scheduled <= fresh.runs("clock.made_up")[0].begun + 30
    assert made.missed >= 1
    # It goes on counting from the first start, however often the platform is started
    for _ in range(2):
        platform.stop()
        platform.start()
    (daily, *_) = fresh.wait_for("daily")
    assert first_due is not None
    assert daily.scheduled - first_due == pytest.approx(8 * daily.missed, abs=0.01)
    fresh.collect_cut("strict", "made_up", "quick")
    fresh.check("strict", 0.1)
    fresh.check("made_up", 2.0)
    fresh.check("quick", 0.1)


def test_crons_run_although_their_moments_cannot_be_kept(fresh: Clockwork) -> None:
    platform = fresh.platform
    platform.data_dir.mkdir()
    (platform.data_dir / "tables").write_text("This is not a directory.")
    platform.start()
    fresh.wait_for("quick", 3)
    assert "Crons run, but their moments are not kept" in platform.output()
    wait_until(lambda: "the moments of crons are not kept" in platform.cli("status").stdout)
    # A rollout hands over what it can
    count = len(fresh.notes("quick"))
    assert platform.cli("reload").returncode == 0
    notes = fresh.wait_for("quick", 5)
    assert [note.n for note in notes[count:]] == list(range(count + 1, len(notes) + 1))
