"""When a worker has done enough."""

from pathlib import Path
from typing import Annotated

from skep import Table
from skep.config.options.table import Options
from skep.table.binding import Tables, bind
from skep.worker.upkeep import Retirement, held_memory, resident_memory

MIB = 1024 * 1024


def worn(draw: float = 0.5, **options: float) -> tuple[Retirement, list[tuple[str, str]]]:
    asked: list[tuple[str, str]] = []
    wear = Retirement(Options(**options), 100.0, lambda: draw)  # type: ignore[arg-type]
    wear.retire = lambda *said: asked.append(said)
    return wear, asked


def test_without_limits_it_lasts_for_ever() -> None:
    wear, asked = worn()
    for _ in range(10_000):
        wear.served()
    wear.look(1e9, 1 << 40)
    assert asked == []


def test_requests_are_counted() -> None:
    wear, asked = worn(max_requests=10)
    for _ in range(9):
        wear.served()
    assert asked == []
    wear.served()
    assert asked == [("max_requests", "10 served")]


def test_the_limits_of_workers_differ_by_a_tenth() -> None:
    for draw, limit in ((0.01, 90), (0.99, 109)):
        wear, asked = worn(draw, max_requests=100)
        for _ in range(limit):
            wear.served()
        assert asked == []
        wear.served()
        assert asked


def test_age_is_counted_from_birth() -> None:
    wear, asked = worn(max_age=60)
    wear.look(159.0, 0)
    assert asked == []
    wear.look(160.0, 0)
    assert asked == [("max_age", "60 s old")]


def test_memory_has_to_be_too_much_for_some_looks_in_a_row() -> None:
    wear, asked = worn(max_rss=100)
    for resident in (101, 101, 99, 101, 101):
        wear.look(101.0, resident * MIB)
    assert asked == []
    wear.look(101.0, 101 * MIB)
    assert asked == [("max_memory", "101 MiB")]


def test_what_the_kernel_says_of_this_process_is_plausible() -> None:
    assert 5 * MIB < resident_memory() < 4096 * MIB
    assert 1 * MIB < held_memory() < resident_memory()


def test_what_was_read_of_a_large_table_is_not_a_worker_s_own_memory(tmp_path: Path) -> None:
    class Pictures(Table, rows=64, name="pictures"):
        data: Annotated[bytes, MIB]

    tables = Tables(tmp_path)
    bound_before = bind(tables)
    try:
        resident, held = resident_memory(), held_memory()
        for n in range(64):
            Pictures.set(str(n), data=bytes(MIB))
        assert sum(len(row.data) for row in Pictures.rows()) == 64 * MIB
        assert resident_memory() - resident > 50 * MIB
        # The allocator of Python keeps some of the copies.
        assert held_memory() - held < 30 * MIB
    finally:
        tables.close()
        bind(bound_before)
