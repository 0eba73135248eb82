"""What is kept of crons."""

from skep.table.binding import Tables
from skep.table.journal import (
    DELIVERING,
    KEPT_RUNS,
    RUNNING,
    WAITING,
    CronJournal,
    CronRun,
    CronState,
)

DAY = 86400.0


def test_a_run_is_kept_with_the_state_that_follows_from_it(tables: Tables) -> None:
    journal = CronJournal(tables)
    state = CronState("every 1 s", 11.0, 10.0, n=3, missed=2)
    run = CronRun(3, 10.0, 10.001)
    journal.begin("pulse.beat", state, run)
    tables.close()
    again = CronJournal(tables)
    assert again.states() == {"pulse.beat": state}
    assert again.runs("pulse.beat") == [run]
    assert run.unfinished


def test_the_last_runs_are_kept_and_one_that_goes_on(tables: Tables) -> None:
    journal = CronJournal(tables)
    for n in range(1, 101):
        journal.begin("pulse.beat", CronState(n=n), CronRun(n, float(n)))
        if n != 7:
            journal.write("pulse.beat", CronRun(n, float(n), outcome="success"))
    # The name of another begins with this one
    journal.begin("pulse.beat2", CronState(), CronRun(1, 1.0))
    last = list(range(101 - KEPT_RUNS, 101))
    assert [run.n for run in journal.runs("pulse.beat")] == [7, *last]
    journal.write("pulse.beat", CronRun(7, 7.0, outcome="success"))
    assert [run.n for run in journal.runs("pulse.beat")] == last
    journal.declare({"pulse.beat": CronState(n=100)}, 0.0)
    assert [run.n for run in journal.runs("pulse.beat")] == last


def test_a_run_advances_from_what_it_was_only(tables: Tables) -> None:
    journal = CronJournal(tables)
    put = CronRun(1, 1.0, outcome=DELIVERING)
    journal.begin("pulse.beat", CronState(), put)
    running = CronRun(1, 1.0, outcome=RUNNING)
    assert journal.advance("pulse.beat", running, DELIVERING, WAITING) is None
    # The timer learns later that it was delivered
    assert journal.advance("pulse.beat", CronRun(1, 1.0, outcome=WAITING), DELIVERING) == running
    assert journal.runs("pulse.beat") == [running]
    # What was forgotten is written
    assert journal.advance("pulse.beat", CronRun(9, 9.0), WAITING) is None


def test_a_cron_that_is_not_declared_is_kept_for_a_month(tables: Tables) -> None:
    journal = CronJournal(tables)
    beat, old = CronState("every 1 s", n=5), CronState("every 2 s", n=7)
    journal.declare({"pulse.beat": beat, "pulse.old": old}, 0.0)
    journal.begin("pulse.old", old, CronRun(8, 1.0))
    journal.declare({"pulse.beat": beat}, DAY)
    assert journal.states()["pulse.old"].undeclared == DAY
    journal.declare({"pulse.beat": beat}, 20 * DAY)
    assert journal.states()["pulse.old"].n == 7
    # It comes back, as after a rollback
    journal.declare({"pulse.beat": beat, "pulse.old": old}, 25 * DAY)
    assert journal.states()["pulse.old"].undeclared == 0
    journal.declare({"pulse.beat": beat}, 26 * DAY)
    journal.declare({"pulse.beat": beat}, 57 * DAY)
    assert set(journal.states()) == {"pulse.beat"}
    assert journal.runs("pulse.old") == []
