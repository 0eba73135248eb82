"""The rows of the store, and what it knows by heart, in a real SQLite file."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from skep.engine.contract import Envelope, Lease, QueueLimits
from skep.engine.ids import new_id
from skep.engine.protocol import Mark
from skep.store.state.database import Database
from skep.store.state.deliveries import NOBODY

NOW = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@contextmanager
def opened(path: Path, run_id: str = "run-1") -> Iterator[Database]:
    database = Database(path, run_id, NOW)
    with closing(database):
        yield database
        database.commit()


def an_envelope(**fields: object) -> Envelope:
    return Envelope(**{"id": new_id(), "name": "orders.Send", "body": b"{}", **fields})  # type: ignore[arg-type]


def take(database: Database, n: int = 1, owner: str = "a", connection: int = 1) -> list[Lease]:
    return database.moves.take(owner, connection, database.ready_queues(), n, NOW)


def done(lease: Lease) -> Mark:
    return Mark(lease.token, "done", 0, "", "", ())


def test_a_file_opened_again_knows_what_it_held(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope() for _ in range(3)], NOW)
        database.moves.put([an_envelope(due=NOW + 5), an_envelope(queue="mail")], NOW)
        take(database)
        before = database.stats()
    with opened(path) as database:
        assert database.stats() == before
        assert database.moves.next_due == NOW + 5


def test_what_a_turn_did_can_be_undone_in_the_file_and_in_memory(path: Path) -> None:
    with opened(path) as database:
        # Given one leased, one scheduled and one ready
        database.moves.put([an_envelope(), an_envelope(), an_envelope(due=NOW + 5)], NOW)
        (lease,) = take(database)
        database.commit()
        before = database.stats(), database.moves.next_due
        # When a turn changes everything and is rolled back
        database.moves.settle([done(lease)], NOW)
        take(database)
        database.moves.put([an_envelope(due=NOW + 1)], NOW)
        database.moves.promote(NOW + 2)
        database.rollback()
        # Then nothing has happened, and it can be done again
        assert (database.stats(), database.moves.next_due) == before
        assert database.moves.settle([done(lease)], NOW) == [True]


def test_no_token_is_ever_made_twice_even_where_a_row_is_used_again(path: Path) -> None:
    tokens = []
    for _ in range(3):
        with opened(path) as database:
            database.moves.put([an_envelope()], NOW)
            (lease,) = take(database)
            tokens.append(lease.token)
            assert database.moves.settle([done(lease)], NOW) == [True]
    assert len({token.split("-")[0] for token in tokens}) == 1
    assert len(set(tokens)) == 3


@pytest.mark.parametrize("token", ["", "-", "1", "x-y", "1-", "-1", "9-9", "²-1"])
def test_a_token_that_is_none_holds_nothing(path: Path, token: str) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope()], NOW)
        take(database)
        assert database.moves.settle([Mark(token, "done", 0, "", "", ())], NOW) == [False]


def test_a_holder_that_comes_back_has_its_leases_again(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope() for _ in range(3)], NOW)
        first, second, third = take(database, 3)
        database.moves.settle([done(third)], NOW)
    with opened(path) as database:
        # When it names two, one of which it has not any more
        assert database.moves.adopt("a", 7, [first.token, third.token], NOW) == [True, False]
        # Then the one it does not name goes back, and not as a loss, for it was never begun
        (again,) = take(database)
        assert (again.envelope, again.losses) == (second.envelope, 0)
        # And its connection is what holds the other from now on
        database.moves.give_back(NOBODY, lost=True, now=NOW)
        assert database.moves.settle([done(first)], NOW) == [True]


def test_nobody_has_the_leases_of_another_by_naming_them(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope()], NOW)
        (lease,) = take(database, owner="a")
    with opened(path) as database:
        assert database.moves.adopt("b", 7, [lease.token], NOW) == [False]
        assert database.moves.adopt("a", 8, [lease.token], NOW) == [True]


def test_who_does_not_come_back_has_lost_its_leases(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope()], NOW)
        take(database)
    with opened(path) as database:
        assert take(database) == []
        database.moves.give_back(NOBODY, lost=True, now=NOW)
        assert take(database)[0].losses == 1


def test_another_run_gives_everything_back_at_once(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope()], NOW)
        take(database)
    with opened(path, "run-2") as database:
        assert take(database)[0].losses == 1


def test_what_is_due_is_made_ready_and_no_more(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope(due=NOW + n) for n in (1, 2, 3)], NOW)
        database.moves.promote(NOW + 2)
        assert database.stats()["default"].ready == 2
        assert database.moves.next_due == NOW + 3


def test_a_retry_in_the_past_is_ready_at_once(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope()], NOW)
        (lease,) = take(database)
        database.moves.settle([Mark(lease.token, "retry", NOW, "", "", ())], NOW)
        assert take(database)[0].attempt == 2


def test_a_rollback_undoes_lanes_and_leases_and_knows_who_holds_what(path: Path) -> None:
    with opened(path) as database:
        # Given one that is held by a connection, and one that waits for its turn behind it
        database.moves.put([an_envelope(concurrency_key="c") for _ in range(2)], NOW)
        (lease,) = take(database, connection=7)
        database.commit()
        # When it is settled in a turn that fails
        database.moves.settle([done(lease)], NOW)
        assert database.stats()["default"].ready == 1
        database.rollback()
        # Then all is as before: the other blocked, the lease that of its connection
        stats = database.stats()["default"]
        assert (stats.leased, stats.blocked) == (1, 1)
        database.moves.give_back(7, lost=True, now=NOW)
        assert database.stats()["default"].ready == 1


def test_what_a_file_says_of_queues_and_lanes_is_known_after_a_start(path: Path) -> None:
    with opened(path) as database:
        database.pause(["mail"], paused=True)
        database.configure({"default": QueueLimits(max_ready=2)})
        database.moves.put([an_envelope(concurrency_key="c") for _ in range(2)], NOW)
        take(database)
    with opened(path) as database:
        assert database.stats()["mail"].paused
        assert database.moves.full([an_envelope(), an_envelope()]) == "default"
        assert take(database) == []
        assert database.stats()["default"].blocked == 1


def test_what_is_over_is_swept_out(path: Path) -> None:
    with opened(path) as database:
        database.moves.put([an_envelope(key="k", unique_for=50, keep_result=50)], NOW)
        (lease,) = take(database)
        database.moves.settle([done(lease)], NOW)
        database.retained.sweep(NOW + 49)
        assert database.retained.result(lease.envelope.id, NOW) is not None
        database.retained.sweep(NOW + 50)
        assert database.retained.result(lease.envelope.id, NOW) is None
        assert database.moves.put([an_envelope(key="k")], NOW)[0].duplicate is False
