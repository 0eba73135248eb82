"""What the store counts of the ends of deliveries, in the transactions that end them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from skep.engine.contract import CountedStep, Envelope, Lease, Verdict
from skep.engine.ids import new_id
from skep.engine.protocol import Mark, Scan
from skep.metrics.names import BY_NAME, MAX_SERIES, OTHER
from skep.store.file import schema
from skep.store.state.database import Database

NOW = 1_000_000
STEP = "orders.Send"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    database = Database(path, "run-1", NOW)
    with closing(database):
        yield database


def lease(database: Database, **fields: Any) -> Lease:
    database.moves.put([Envelope(id=new_id(), name=STEP, body=b"{}", **fields)], NOW)
    (one,) = database.moves.take("a", 1, database.ready_queues(), 1, NOW)
    return one


def settle(database: Database, one: Lease, verdict: Verdict, **counted: Any) -> bool:
    (accepted,) = database.moves.settle([Mark(one.token, verdict, 0, "", "", (), **counted)], NOW)
    return accepted


def end(database: Database, outcome: str, number: int = 1, step: str = STEP) -> None:
    for _ in range(number):
        settle(database, lease(database), "done", step=step, outcome=outcome)


def counted(database: Database, metric: str) -> dict[tuple[str, ...], int]:
    """What is reported at a start from nothing."""
    return {labels: n for (name, labels), n in database.tally.changed.items() if name == metric}


def not_zero(database: Database, metric: str) -> dict[tuple[str, ...], int]:
    return {labels: n for labels, n in counted(database, metric).items() if n}


def test_an_end_counts_with_its_transaction_and_goes_on_in_the_next_store(path: Path) -> None:
    with opened(path) as database:
        end(database, "success", 3)
        assert not_zero(database, "tasks_total") == {}
        database.commit()
        assert not_zero(database, "tasks_total") == {(STEP, "default", "success"): 3}
        # What is undone was not counted
        end(database, "success", 2)
        database.rollback()
        # And what is not committed when the process dies neither
        end(database, "success")
    with opened(path) as database:
        assert not_zero(database, "tasks_total") == {(STEP, "default", "success"): 3}
        end(database, "success")
        end(database, "failure")
        database.commit()
        assert not_zero(database, "tasks_total") == {
            (STEP, "default", "success"): 4,
            (STEP, "default", "failure"): 1,
        }


def test_only_what_has_changed_is_reported_again(path: Path) -> None:
    with opened(path) as database:
        end(database, "success")
        database.commit()
        database.tally.changed = {}
        end(database, "success")
        database.commit()
        assert database.tally.changed == {("tasks_total", (STEP, "default", "success")): 2}


def test_a_settlement_that_is_refused_counts_nothing(path: Path) -> None:
    with opened(path) as database:
        one = lease(database)
        assert settle(database, one, "done", step=STEP, outcome="success")
        assert not settle(database, one, "done", step=STEP, outcome="success")
        database.commit()
        assert not_zero(database, "tasks_total") == {(STEP, "default", "success"): 1}


def test_retries_and_deaths_are_counted_beside_the_attempt(path: Path) -> None:
    failure = {"step": STEP, "outcome": "failure"}
    with opened(path) as database:
        settle(database, lease(database, queue="mail"), "retry", **failure)
        (again,) = database.moves.take("a", 1, ["mail"], 1, NOW)
        settle(database, again, "dead", **failure)
        # One that was cancelled is not tried again, and one of no name counts nothing
        cancelled = lease(database, queue="mail")
        database.edits.cancel([cancelled.envelope.id], NOW)
        settle(database, cancelled, "retry", **failure)
        settle(database, lease(database, queue="mail"), "release")
        database.commit()
        assert not_zero(database, "tasks_total") == {(STEP, "mail", "failure"): 3}
        assert not_zero(database, "task_retries_total") == {(STEP, "mail"): 1}
        assert not_zero(database, "tasks_dead_total") == {(STEP, "mail"): 1}


def test_a_listener_counts_with_those_that_it_has_prevented(path: Path) -> None:
    of_event = {"step": "First", "event": "Paid", "outcome": "success", "skipped": ("Last",)}
    with opened(path) as database:
        one = lease(database, headers={"listener": "First"})
        assert database.moves.events == 1
        settle(database, one, "done", **of_event)
        database.commit()
        assert database.moves.events == 0
        assert not_zero(database, "event_deliveries_total") == {
            ("Paid", "First", "success"): 1,
            ("Paid", "Last", "skipped"): 1,
        }
        assert counted(database, "tasks_total") == {}


def test_events_that_wait_are_known_again_after_a_restart(path: Path) -> None:
    with opened(path) as database:
        for headers in ({"listener": "First"}, {"listener": "Last"}, {"origin": "listener"}):
            database.moves.put([Envelope(new_id(), STEP, b"{}", headers=headers)], NOW)
        database.moves.take("a", 1, ["default"], 1, NOW)
        database.commit()
        assert database.moves.events == 2
    with opened(path) as database:
        assert database.moves.events == 2
        (row, *_) = database.look_up(Scan(1, "default", "ready", "", 10))
        database.edits.cancel([row.envelope.id], NOW)
        database.rollback()
        assert database.moves.events == 2


def test_what_is_expected_and_what_could_have_happened_is_shown_at_zero(path: Path) -> None:
    """B22."""
    with opened(path) as database:
        database.expect([CountedStep(STEP, "mail"), CountedStep("First", "mail", "Paid")])
        outcomes = BY_NAME["tasks_total"].labels["outcome"] or ()
        assert counted(database, "tasks_total") == {(STEP, "mail", how): 0 for how in outcomes}
        assert counted(database, "event_deliveries_total") == {
            ("Paid", "First", how): 0 for how in ("success", "failure", "skipped")
        }
        assert counted(database, "tasks_dead_total") == {(STEP, "mail"): 0, ("First", "mail"): 0}
        assert "mail" in database.moves.counts
        # And one that nobody has expected shows all its outcomes when it first ends
        end(database, "success", step="new")
        database.commit()
        found = counted(database, "tasks_total")
        assert {found["new", "default", how] for how in outcomes} == {0, 1}


def test_too_many_names_are_counted_under_one(path: Path) -> None:
    with opened(path) as database:
        outcomes = len(BY_NAME["tasks_total"].labels["outcome"] or ())
        for number in range(MAX_SERIES // outcomes + 100):
            end(database, "success", step=f"task-{number}")
        database.commit()
        assert not_zero(database, "tasks_total")[OTHER, OTHER, "success"] == 100
    with opened(path) as database:
        end(database, "success", step="one more")
        database.commit()
        assert not_zero(database, "tasks_total")[OTHER, OTHER, "success"] == 101
        assert len(counted(database, "tasks_total")) <= MAX_SERIES + outcomes


def test_a_file_of_the_format_before_counts_from_zero(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.executescript("".join(schema._STEPS[:4]))
        old.execute("PRAGMA user_version = 4")
    with opened(path) as database:
        end(database, "success")
        database.commit()
    with opened(path) as database:
        assert not_zero(database, "tasks_total") == {(STEP, "default", "success"): 1}


def test_what_a_damaged_file_has_lost_is_counted_on_from_memory(path: Path) -> None:
    with opened(path) as database:
        end(database, "success", 5)
        database.commit()
        database._transaction.change("DELETE FROM counted")
        database.commit()
        database.rewrite("was damaged")
        end(database, "success")
        database.commit()
    with opened(path) as database:
        assert not_zero(database, "tasks_total") == {(STEP, "default", "success"): 6}
