"""Whatever happens to a concurrency key, the right ones of it may be handed out."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from skep.engine.contract import Envelope
from skep.engine.protocol import Mark
from skep.store.file.schema import IN_MEMORY
from skep.store.state.database import Database

QUEUES = ("a", "b")
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(QUEUES), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("take"), st.sampled_from(QUEUES), st.integers(1, 3)),
        st.tuples(st.sampled_from(["done", "release", "retry", "lost"]), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from(QUEUES)),
        st.tuples(st.sampled_from(["tick", "rollback"])),
    ),
    max_size=40,
)


@contextmanager
def a_database() -> Iterator[Database]:
    database = Database(IN_MEMORY, "run-1", 1)
    try:
        yield database
    finally:
        database.close()


@given(ops=OPS, concurrency=st.integers(1, 3))
def test_the_first_are_ready_as_many_as_there_is_room_for(
    ops: list[tuple[object, ...]], concurrency: int
) -> None:
    numbers = count()
    tokens: list[str] = []
    with a_database() as database:
        moves, now = database.moves, 10
        for op in ops:
            match op:
                case ("put", str(queue), int(priority), int(delay)):
                    new = Envelope(
                        f"{next(numbers)}",
                        "orders.Send",
                        b"{}",
                        queue,
                        due=now + delay if delay else 0,
                        priority=priority,
                        concurrency_key="k",
                        concurrency=concurrency,
                    )
                    moves.put([new], now)
                case ("take", str(queue), int(n)):
                    tokens += [lease.token for lease in moves.take("w", 1, [queue], n, now)]
                case ("lost", int(number)) if tokens:
                    moves.give_back(1, lost=True, now=now)
                    tokens.clear()
                case ("done" | "release" | "retry" as verdict, int(number)) if tokens:
                    token = tokens.pop(number % len(tokens))
                    at = now + 2 if verdict == "retry" else 0
                    moves.settle([Mark(token, verdict, at, "", "", ())], now)
                case ("cancel", int(number)):
                    database.edits.cancel([f"{number}"], now)
                case ("pause" | "resume" as how, str(queue)):
                    database.pause([queue], how == "pause")
                case ("tick",):
                    now += 1
                    moves.promote(now)
                case ("rollback",):
                    database.commit()
                    moves.put([Envelope("x", "n", b"{}", concurrency_key="k")], now)
                    database.rollback()
            _check(database, concurrency)


def _check(database: Database, concurrency: int) -> None:
    read = database._transaction.read
    rows = read(
        "SELECT seq, queue, state FROM delivery WHERE state IN (0, 2, 4) "
        "ORDER BY priority DESC, seq"
    ).fetchall()
    paused = {queue for queue, throttle in database.moves.throttles.items() if throttle.paused}
    leased = sum(state == 2 for _, _, state in rows)
    assert leased <= concurrency
    waiting = [(seq, state) for seq, queue, state in rows if state != 2 and queue not in paused]
    wanted = {seq for seq, _ in waiting[: concurrency - leased]}
    assert {seq for seq, state in waiting if state == 0} == wanted
    counted = read("SELECT queue, state, count(*) FROM delivery GROUP BY queue, state").fetchall()
    known = {
        (queue, state): number
        for queue, counts in database.moves.counts.items()
        for state, number in enumerate(counts)
        if number
    }
    assert known == {(queue, state): number for queue, state, number in counted}
