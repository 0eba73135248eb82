"""The rows of a table: what each call does, in one process."""

import asyncio
import gc
import threading
import time
from collections import Counter
from typing import Annotated, Any

import pytest

from skep import Atomic, AtomicFlag, Table, TableError, TableFull, transaction
from skep.table.binding import Tables
from skep.table.keeper import Keeper

pytestmark = pytest.mark.usefixtures("tables")


class Users(Table, rows=3, index=("fd", "name"), name="users"):
    fd: int
    name: Annotated[str, 32]
    score: float
    avatar: Annotated[bytes, 1024]


class Hits(Table, rows=1000, name="hits"):
    n: int
    seen: float = 0.5
    on: bool = False


class Visits(Table, rows=2, ttl=3600, index="n", name="visits"):
    n: int


def get(key: str) -> Hits:
    found = Hits.get(key)
    assert found is not None
    return found


def test_a_row_is_made_changed_and_deleted() -> None:
    assert Hits.get("a") is None
    assert not Hits.exists("a")
    Hits.set("a", n=1)
    assert (get("a").key, get("a").n, get("a").seen, get("a").on) == ("a", 1, 0.5, False)
    Hits.set("a", seen=2)
    assert (get("a").n, get("a").seen) == (1, 2)
    assert Hits.count() == 1
    assert Hits.delete("a")
    assert not Hits.delete("a")
    assert Hits.count() == 0


def test_a_row_is_a_copy_of_the_class_that_cannot_be_changed() -> None:
    Hits.set("a", n=1)
    row = get("a")
    assert isinstance(row, Hits)
    assert repr(row) == "Hits(key='a', n=1, seen=0.5, on=False)"
    with pytest.raises(AttributeError):
        row.n = 2


def test_numbers_are_incremented_and_the_sum_is_returned() -> None:
    assert Hits.increment("a", "n") == 1
    assert Hits.increment("a", "n", 41) == 42
    assert Hits.decrement("a", "n", 2) == 40
    assert Hits.increment("a", "seen", 0.25) == 0.75
    Hits.set("a", n=2**63 - 1)
    with pytest.raises(ValueError, match=r"hits\.n takes -2\*\*63 to 2\*\*63-1"):
        Hits.increment("a", "n")
    assert get("a").n == 2**63 - 1


def test_a_row_is_compared_and_set() -> None:
    assert Hits.compare_and_set("a", None, n=1)
    assert not Hits.compare_and_set("a", None, n=2)
    assert not Hits.compare_and_set("a", {"n": 2}, n=3)
    assert Hits.compare_and_set("a", {"n": 1}, n=3, on=True)
    assert not Hits.compare_and_set("b", {"n": 0}, n=3)
    assert (get("a").n, Hits.count()) == (3, 1)


def test_a_row_is_returned_as_it_is_deleted() -> None:
    Hits.set("a", n=7)
    popped = Hits.pop("a")
    assert popped is not None
    assert popped.n == 7
    assert Hits.pop("a") is None


def test_rows_are_iterated_by_key_and_prefix() -> None:
    for key in ("user:2", "user:1", "room:1"):
        Hits.set(key, n=1)
    assert [row.key for row in Hits.rows()] == ["room:1", "user:1", "user:2"]
    assert [row.key for row in Hits.rows(prefix="user:")] == ["user:1", "user:2"]


def test_rows_of_several_batches_can_be_changed_while_they_are_iterated() -> None:
    keys = [f"{n:04}" for n in range(1000)]
    with transaction():
        for key in keys:
            Hits.set(key, n=1)
    seen = []
    for row in Hits.rows():
        seen.append(row.key)
        Hits.delete(row.key)
    assert seen == keys
    assert Hits.count() == 0


def test_a_full_table_takes_no_further_row_and_the_others_can_be_changed() -> None:
    """laravels.md §6: table full."""
    for n in range(3):
        Users.set(str(n), fd=n)
    with pytest.raises(TableFull, match="The table users has 3 rows"):
        Users.set("3", fd=3)
    with pytest.raises(TableFull):
        Users.increment("3", "fd")
    Users.set("2", fd=9)
    Users.delete("0")
    Users.set("3", fd=3)
    assert Users.count() == 3


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "x" * 33}, "users.name takes 32 characters, not 'xxx.* with 33"),
        ({"avatar": b"x" * 1025}, "users.avatar takes 1024 bytes, not .* with 1025"),
        ({"fd": "7"}, "users.fd takes int, not '7'"),
        ({"fd": True}, "users.fd takes int, not True"),
        ({"score": "1"}, "users.score takes float, not '1'"),
        ({"fd": 2**63}, "users.fd takes -2"),
        ({"nam": "x"}, "users has no column 'nam'; it has fd, name, score, avatar"),
    ],
)
def test_what_does_not_fit_is_refused_by_table_column_value_and_bound(
    given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        Users.set("a", **given)
    assert Users.get("a") is None


def test_a_table_that_is_first_used_in_a_transaction_that_fails_can_be_used_after_it() -> None:
    def fail() -> None:
        with transaction():
            Hits.set("a", n=1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert Hits.get("a") is None
    Hits.set("a", n=2)
    assert get("a").n == 2


def test_a_column_of_floats_has_floats() -> None:
    Hits.set("a", seen=2)
    assert isinstance(get("a").seen, float)
    assert isinstance(Hits.increment("a", "seen", 1), float)


@pytest.mark.parametrize("key", ["", "x" * 201, "é" * 101, "\ud800", 7, None, b"a"])
def test_a_key_is_a_text_of_up_to_200_bytes(key: Any) -> None:
    with pytest.raises(ValueError, match="hits: a key is a text of 1 to 200 bytes"):
        Hits.set(key, n=1)


def test_only_numbers_are_incremented() -> None:
    with pytest.raises(ValueError, match=r"users\.name is str, not a number"):
        Users.increment("a", "name")
    with pytest.raises(ValueError, match=r"users\.fd takes int, not 0\.5"):
        Users.increment("a", "fd", 0.5)


def test_rows_are_found_by_an_indexed_column() -> None:
    Users.set("a", fd=1, name="Ann")
    Users.set("b", fd=1, name="Ben")
    Users.set("c", fd=2, name="Ann")
    assert [row.key for row in Users.where(fd=1)] == ["a", "b"]
    assert [row.key for row in Users.where(name="Ann")] == ["a", "c"]
    Users.set("a", fd=2)
    assert [row.key for row in Users.where(fd=1)] == ["b"]
    Users.increment("b", "fd")
    assert [row.key for row in Users.where(fd=2)] == ["a", "b", "c"]
    Users.delete("c")
    assert [row.key for row in Users.where(fd=2)] == ["a", "b"]
    assert Users.clear() == 2
    assert Users.where(fd=2) == []
    with pytest.raises(ValueError, match="users has no index of score"):
        Users.where(score=1.0)
    with pytest.raises(ValueError, match="takes one column, not 2"):
        Users.where(fd=1, name="a")


def test_a_row_that_has_expired_is_gone_at_once_and_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Visits.set("a", n=1)
    Visits.increment("b", "n")
    with pytest.raises(TableFull):
        Visits.set("c", n=1)
    later = time.time_ns() + 3601 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert Visits.get("a") is None
    assert not Visits.exists("b")
    assert Visits.count() == 0
    assert list(Visits.rows()) == []
    assert Visits.where(n=1) == []
    assert Visits.pop("a") is None
    assert Visits.increment("b", "n") == 1
    Visits.set("c", n=1)
    assert Visits.count() == 2


def test_a_set_begins_the_life_of_a_row_again_and_an_increment_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = time.time_ns()
    Visits.set("a", n=1)
    Visits.set("b", n=1)
    monkeypatch.setattr(time, "time_ns", lambda: began + 3000 * 10**9)
    Visits.set("a", n=2)
    Visits.increment("b", "n")
    monkeypatch.setattr(time, "time_ns", lambda: began + 4000 * 10**9)
    assert [row.key for row in Visits.rows()] == ["a"]


def test_a_row_may_be_given_another_time_to_live() -> None:
    Visits.set("a", n=1)
    assert Visits.expire("a", 0)
    assert not Visits.exists("a")
    assert not Visits.expire("a", 10)
    Visits.set("a", n=1)
    assert Visits.expire("a", None)
    with pytest.raises(ValueError, match="seconds are 0 to"):
        Visits.expire("a", -1)


def test_a_set_keeps_the_time_of_a_row_in_a_table_without_ttl(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Hits.set("a", n=1)
    Hits.expire("a", 60)
    Hits.set("a", n=2)
    later = time.time_ns() + 61 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert Hits.get("a") is None


def test_the_keeper_sweeps_what_has_expired(tables: Tables) -> None:
    Visits.set("a", n=1)
    Visits.expire("a", 0)
    keeper = Keeper(tables, patience=30)
    keeper.start()
    try:
        space = tables.spaces[Visits]
        deadline = time.monotonic() + 10
        left: bytes | None = b""
        while left is not None and time.monotonic() < deadline:
            with tables.reading() as txn:
                left = space.raw(txn, b"a")
        assert left is None
    finally:
        keeper.stop()


def test_a_transaction_changes_several_tables_or_nothing() -> None:
    with transaction():
        Hits.set("a", n=1)
        Users.set("a", fd=1)
        assert get("a").n == 1

    def fail() -> None:
        with transaction():
            Hits.increment("a", "n")
            Users.delete("a")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert get("a").n == 1
    assert Users.exists("a")


def test_a_transaction_goes_on_after_a_refused_call_in_it() -> None:
    with transaction():
        for n in range(3):
            Users.set(str(n), fd=n)
        with pytest.raises(TableFull):
            Users.set("3", fd=3)
        with transaction():
            Users.set("2", fd=9)
    assert [row.fd for row in Users.rows()] == [0, 1, 9]


def test_a_transaction_with_an_await_is_refused_and_not_a_deadlock() -> None:
    async def test() -> None:
        entered = asyncio.Event()

        async def hold() -> None:
            with transaction():
                Hits.set("a", n=1)
                entered.set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        holding = asyncio.create_task(hold())
        await entered.wait()
        with pytest.raises(TableError, match="no await in its block"):
            Hits.increment("a", "n")
        with pytest.raises(TableError, match="There was an await in the block"):
            await holding
        assert Hits.get("a") is None

    asyncio.run(test())


def test_a_transaction_in_a_coroutine_is_kept_if_its_block_awaits_nothing() -> None:
    async def test() -> None:
        for _ in range(3):
            with transaction():
                Hits.increment("a", "n")
            await asyncio.sleep(0)

    asyncio.run(test())
    assert get("a").n == 3


def test_a_call_out_of_the_middle_of_another_is_an_error_and_not_a_deadlock() -> None:
    """As a finalizer makes it, which the garbage collector may call at any moment."""
    outcomes: Counter[type] = Counter()

    def call(phase: str, info: dict[str, int]) -> None:
        try:
            Hits.increment("b", "n")
            outcomes[int] += 1
        except TableError:
            outcomes[TableError] += 1

    before = gc.get_threshold()
    gc.callbacks.append(call)
    gc.set_threshold(1)
    try:
        for _ in range(50):
            Hits.increment("a", "n")
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(call)
    assert get("a").n == 50
    assert outcomes[TableError] > 0
    assert get("b").n == outcomes[int]


@pytest.mark.parametrize("prefix", [7, None, "\ud800"])
def test_a_prefix_is_a_text(prefix: Any) -> None:
    with pytest.raises(ValueError, match="hits: a prefix is a text, not"):
        Hits.rows(prefix=prefix)
    assert list(Hits.rows("x" * 1000)) == []


def test_a_transaction_that_ends_in_another_thread_is_an_error() -> None:
    """As a dependency with a `yield` may; LMDB's lock can only be released where it was taken."""
    block = transaction()
    begun, ended = threading.Event(), threading.Event()

    def begin() -> None:
        block.__enter__()
        Hits.set("a", n=1)
        begun.set()
        ended.wait(10)

    thread = threading.Thread(target=begin)
    thread.start()
    assert begun.wait(10)
    with pytest.raises(TableError, match="ended in another thread than it began in"):
        block.__exit__(None, None, None)
    ended.set()
    thread.join()
    assert Hits.get("a") is None
    assert Hits.increment("a", "n") == 1


def test_a_thread_waits_for_the_transaction_of_another() -> None:
    def work() -> None:
        for _ in range(200):
            with transaction():
                row = Hits.get("a")
                Hits.set("a", n=row.n + 1 if row else 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get("a").n == 800


def test_atomics_and_flags_are_shared_by_their_names() -> None:
    number = Atomic("a")
    assert number.get() == 0
    assert number.add() == 1
    assert Atomic("a").add(-3) == -2
    assert not number.compare_and_set(1, 5)
    assert number.compare_and_set(-2, 5)
    number.set(7)
    assert Atomic("a").get() == 7
    assert Atomic("b").get() == 0
    flag = AtomicFlag("a")
    assert not flag.is_set()
    assert not flag.test_and_set()
    assert AtomicFlag("a").test_and_set()
    flag.clear()
    assert not flag.is_set()


def test_calls_are_counted_by_outcome() -> None:
    before = Counter(Users.calls())
    Users.set("a", fd=1)
    Users.set("b", fd=1)
    with pytest.raises(ValueError, match="no column"):
        Users.set("b", nope=1)
    Users.set("c", fd=1)
    with pytest.raises(TableFull):
        Users.set("d", fd=1)
    assert Counter(Users.calls()) - before == Counter(
        {("set", "success"): 3, ("set", "error"): 1, ("set", "full"): 1}
    )


def test_long_rows_are_read_a_mebibyte_at_a_time(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Long(Table, rows=100, name="long"):
        data: Annotated[bytes, 1 << 20]

    for n in range(6):
        Long.set(str(n), data=bytes(600_000))
    reading, transactions = tables.reading, 0

    def counted() -> Any:
        nonlocal transactions
        transactions += 1
        return reading()

    monkeypatch.setattr(tables, "reading", counted)
    assert [row.key for row in Long.rows()] == list("012345")
    # Two rows each time, and once to see that there are no more.
    assert transactions == 4
