"""The file of the tables: damage, other versions, snapshots, a changed schema."""

import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pytest

from skep import Plugin, Table, TableError, TableFull, transaction
from skep.base.errors import DeclarationError, Undeclared
from skep.table import binding, environment
from skep.table import schema as file
from skep.table.binding import Tables, bind
from skep.table.keeper import Keeper


class Hits(Table, rows=10, name="hits"):
    n: int


def again(tables: Tables, **changed: Any) -> Tables:
    """Return the tables as another process has them."""
    made = Tables(tables.folder, **changed)
    tables.close()
    bind(made)
    return made


def with_rows(tables: Tables) -> None:
    for n in range(5):
        Hits.set(str(n), n=n)


def truncate(live: Path) -> None:
    with live.open("r+b") as opened:
        opened.truncate(3 * 4096)


def overwrite(live: Path) -> None:
    with live.open("r+b") as opened:
        opened.write(b"nonsense" * 1024)


@pytest.mark.parametrize("harm", [truncate, overwrite])
@pytest.mark.parametrize("has_snapshot", [True, False])
def test_a_damaged_file_is_replaced_by_the_snapshot_and_kept(
    tables: Tables, harm: Any, has_snapshot: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with_rows(tables)
    if has_snapshot:
        tables.environment.snapshot()
    Hits.set("late", n=1)
    tables.close()
    harm(tables.folder / "live.mdb")
    again(tables)
    assert Hits.count() == (5 if has_snapshot else 0)
    Hits.increment("0", "n")
    assert "is damaged" in caplog.text
    assert ("they are as of" if has_snapshot else "they are empty") in caplog.text
    assert len(list(tables.folder.glob("damaged-*.mdb"))) == 1


def empty(live: Path) -> None:
    os.truncate(live, 0)


@pytest.mark.parametrize(("harm", "text"), [(overwrite, "is damaged"), (empty, "was emptied")])
def test_a_damaged_file_that_others_use_is_refused(tables: Tables, harm: Any, text: str) -> None:
    with_rows(tables)
    file = tables.folder / "live.mdb"
    whole = file.stat().st_size
    harm(file)
    with pytest.raises(TableError, match=f"{text}, and other processes use it"):
        environment.Environment(tables.folder)
    os.truncate(file, whole)  # else closing it would end this process


def remove(file: Path) -> None:
    file.unlink()


def replace(file: Path) -> None:
    coming = file.with_suffix(".other")
    shutil.copyfile(file, coming)
    coming.replace(file)


@pytest.mark.parametrize("harm", [remove, replace])
@pytest.mark.parametrize("name", ["live.mdb", "live.mdb-lock"])
def test_a_file_that_was_removed_or_replaced_while_it_is_used_is_refused(
    tables: Tables, harm: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock of LMDB that is made again would let two processes write at once."""
    with_rows(tables)
    harm(tables.folder / name)
    with pytest.raises(TableError, match="was removed or replaced, and other processes use it"):
        environment.Environment(tables.folder)
    # Who has it open says so, once.
    keeper = Keeper(tables, patience=30)
    for _ in range(3):
        keeper._try(lambda: keeper.look(time.monotonic()))
    keeper.stop()
    assert caplog.text.count("live.mdb was removed or replaced while processes use it") == 1
    assert Hits.count() == 5


@pytest.mark.parametrize("harm", [remove, empty])
def test_a_file_that_is_gone_is_made_again_of_the_snapshot(
    tables: Tables, harm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with_rows(tables)
    tables.environment.snapshot()
    tables.close()
    harm(tables.folder / "live.mdb")
    again(tables)
    assert Hits.count() == 5
    assert "live.mdb is missing or empty: they are as of" in caplog.text


def test_tables_whose_folder_was_removed_begin_empty(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    with_rows(tables)
    tables.close()
    shutil.rmtree(tables.folder)
    again(tables)
    assert Hits.count() == 0
    assert caplog.text == ""


def test_a_folder_that_this_user_cannot_use_is_an_error_with_a_sentence(tables: Tables) -> None:
    (tables.folder / "users.lock").mkdir(parents=True)
    with pytest.raises(TableError, match=r"The tables in .* by user \d+: .*users\.lock: Is a dir"):
        Hits.get("a")


def test_a_file_of_another_version_is_refused_and_not_touched(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(tables)
    again(tables)
    with monkeypatch.context() as patched:
        patched.setattr(environment, "_FORMAT", b"2")
        with pytest.raises(TableError, match=r"of skep \(format 1, this one reads 2\)"):
            Hits.get("1")
    assert Hits.count() == 5


@pytest.mark.parametrize("is_closed", [True, False])
def test_after_the_machine_stopped_the_snapshot_counts_unless_the_file_was_closed(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    with_rows(tables)
    tables.environment.snapshot()
    Hits.set("late", n=1)
    state = (tables.folder / "state").read_text()
    tables.close()
    if not is_closed:
        (tables.folder / "state").write_text(state)
    monkeypatch.setattr(environment, "_boot_id", lambda: "another")
    again(tables)
    assert Hits.exists("late") == is_closed
    assert Hits.count() == 5 + is_closed


def test_the_keeper_writes_the_snapshot_at_most_once_a_minute(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(tables)
    keeper = Keeper(tables, patience=30)
    keeper.look(time.monotonic())
    first = tables.environment.snapshot_file.stat().st_ino
    Hits.set("late", n=1)
    keeper.look(time.monotonic())
    assert tables.environment.snapshot_file.stat().st_ino == first
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    keeper.look(time.monotonic() + 61)
    assert tables.environment.snapshot_file.stat().st_ino != first
    keeper.stop()


def test_a_keeper_writes_nothing_while_nothing_changes(tables: Tables) -> None:
    with_rows(tables)
    keeper = Keeper(tables, patience=30)
    before = tables.environment.lmdb.info()["last_txnid"]
    for seconds in range(0, 100, 10):
        keeper.look(time.monotonic() + seconds)
    keeper.stop()
    assert tables.environment.lmdb.info()["last_txnid"] == before


def test_a_keeper_goes_on_after_a_row_that_it_cannot_read(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    with_rows(tables)
    space = tables.spaces[Hits]
    Hits.expire("1", 0)
    with tables.writing() as txn:
        txn.put(b"r" + space.number + b"1", b"\xc1")
    keeper = Keeper(tables, patience=30)
    keeper._try(lambda: keeper.look(time.monotonic()))
    assert "The tables could not be kept in order" in caplog.text
    with pytest.raises(TableError, match="The table hits cannot be used"):
        Hits.get("1")
    Hits.clear()
    keeper._try(lambda: keeper.look(time.monotonic()))
    keeper.stop()
    assert tables.environment.snapshot_file.exists()


def test_a_full_file_refuses_rows_and_keeps_those_that_it_has(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Large(Table, rows=1000, name="large"):
        text: Annotated[bytes, 65536]

    def fill(number: int) -> int:
        with transaction():
            for n in range(number):
                Large.set(f"t{n}", text=b"x" * 65536)
        return number

    monkeypatch.setattr(environment, "MAP_SIZE", 4 << 20)
    with pytest.raises(TableFull, match="There is no room for all tables"):
        fill(100)
    assert Large.count() == 0
    kept = 0
    with suppress(TableFull):
        while True:
            Large.set(str(kept), text=b"x" * 65536)
            kept += 1
    assert Large.count() == kept > 20
    assert len(list(Large.rows())) == kept
    for key in [row.key for row in Large.rows()]:
        Large.delete(key)
    assert fill(10) == Large.count()


def test_a_full_disk_is_an_error_with_a_sentence(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(TableError, match=r"The tables need \d+ MiB in .*: No space left"):
        Hits.get("1")


def test_tables_that_are_too_large_together_are_refused(tables: Tables) -> None:
    class Half(Table, rows=6_000_000, name="half"):
        n: int

    class Huge(Table, rows=6_000_000, name="huge"):
        n: int

    tables.environment.reserve = lambda size: None  # type: ignore[method-assign]
    Half.get("a")
    with pytest.raises(TableError, match=r"huge has .* rows: all tables would take \d+ MiB"):
        Huge.get("a")


# -- a changed schema ------------------------------------------------------------------------------


class Old(Table, rows=10, name="users"):
    n: int
    name: Annotated[str, 8]


class Wider(Table, rows=20, name="users", index="city"):
    n: int
    name: Annotated[str, 16]
    city: Annotated[str, 8] = "Rome"


class Other(Table, rows=10, name="users"):
    n: float
    name: Annotated[str, 8]


def test_a_wider_schema_takes_the_rows_and_an_older_process_goes_on(tables: Tables) -> None:
    Old.set("a", n=1, name="Ann")
    Wider.set("b", name="x" * 16, city="Oslo")
    row = Wider.get("a")
    assert row is not None
    assert (row.n, row.name, row.city) == (1, "Ann", "Rome")
    assert [found.key for found in Wider.where(city="Rome")] == ["a"]
    Old.increment("b", "n", 7)
    Old.set("c", n=3)
    assert [(r.key, r.n, r.city) for r in Wider.rows()] == [
        ("a", 1, "Rome"),
        ("b", 7, "Oslo"),
        ("c", 3, "Rome"),
    ]
    assert [found.key for found in Wider.where(city="Rome")] == ["a", "c"]
    # Rolled back: what the wider one has written stays.
    again(tables)
    Old.delete("c")
    assert Old.count() == 2
    assert [found.key for found in Wider.where(city="Rome")] == ["a"]


def test_any_other_schema_is_a_new_table_and_the_old_one_is_kept_while_it_is_used(
    tables: Tables,
) -> None:
    Old.set("a", n=1, name="Ann")
    assert Other.get("a") is None
    Other.set("a", n=0.5)
    old = Old.get("a")
    assert old is not None
    assert old.n == 1


def test_an_old_version_is_removed_when_no_process_has_used_it_for_long(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    Old.set("a", n=1)
    fresh = again(tables)
    Other.set("a", n=0.5)
    keeper = Keeper(fresh, patience=30)
    keeper.look(time.monotonic() + 29)
    with fresh.reading() as txn:
        assert len(list(file.versions(txn, "users"))) == 2
    later = time.time() + 31
    monkeypatch.setattr(time, "time", lambda: later)
    keeper.look(time.monotonic() + 31)
    keeper.stop()
    with fresh.reading() as txn:
        assert len(list(file.versions(txn, "users"))) == 1
    assert Other.count() == 1


def test_a_table_that_is_not_durable_is_empty_in_the_next_run(tables: Tables) -> None:
    class Brief(Table, rows=10, durable=False, name="brief"):
        n: int

    current = again(tables, run="run-1")
    Brief.set("a", n=1)
    Hits.set("a", n=1)
    for run in ("run-1", ""):
        current = again(current, run=run)
        assert Brief.count() == 1
    again(current, run="run-2")
    assert (Brief.count(), Hits.count()) == (0, 1)
    Brief.set("b", n=1)


# -- where a table may be used ---------------------------------------------------------------------


def test_a_script_finds_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = bind(None)
    try:
        monkeypatch.delenv("PLATFORM_DATA_DIR", raising=False)
        with pytest.raises(TableError, match="set PLATFORM_DATA_DIR"):
            Hits.get("a")
        monkeypatch.setenv("PLATFORM_DATA_DIR", str(tmp_path))
        Hits.set("a", n=1)
        assert (tmp_path / "tables" / "live.mdb").exists()
        binding.current().close()
    finally:
        bind(before)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_a_table_that_no_plugin_declares_is_refused_in_a_worker(tables: Tables) -> None:
    again(tables, declared=())
    with pytest.raises(Undeclared, match=r"test_file\.Hits is in no Plugin.*tables=\[Hits\]"):
        Hits.get("a")


def test_no_table_can_be_used_while_plugins_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bind(None)
    monkeypatch.setattr(binding, "_refusal", "")
    try:
        binding.refuse("Not yet.")
        with pytest.raises(TableError, match="Not yet"):
            Hits.get("a")
    finally:
        bind(before)


def declare(annotations: dict[str, Any], **terms: Any) -> type[Table]:
    made: type[Table] = type("Bad", (Table,), {"__annotations__": annotations}, **terms)
    return made


@pytest.mark.parametrize(
    ("annotations", "terms", "text"),
    [
        ({"n": list}, {}, "has the column n of type list: columns are int"),
        ({"n": str}, {}, r"has the column n without a bound: write Str\[64\]"),
        ({"n": Annotated[str, 0]}, {}, "has the column n with the bound 0"),
        ({"n": "Nope"}, {}, "has a type that cannot be read: name 'Nope'"),
        ({}, {}, "has no columns: write one as `n: int`"),
        ({"count": int}, {}, "has a column with a name that is taken: count"),
        ({"key": int}, {}, "has a column with a name that is taken: key"),
        ({"expires_in": int}, {}, "has a column with a name that is taken: expires_in"),
        ({"n": int}, {"rows": 10**8}, "has rows=100000000, which may take 39863 MiB: all tables"),
        ({"n": int}, {"rows": 0}, "has rows=0; it takes a number from 1 on"),
        ({"n": int}, {"ttl": -1}, "has ttl=-1; it takes seconds"),
        ({"n": int}, {"name": "skep.mine"}, "has the name 'skep.mine', but names with skep. are"),
        ({"n": int}, {"name": 3}, "has the name 3; it takes 1 to 200 bytes"),
        ({"n": int}, {"durable": 3}, "has durable=3; it takes True or False"),
        ({"n": int}, {"index": "m"}, "has index='m', which is not one of its columns"),
        ({"n": int}, {"index": 3}, "has index=3, which is not one of its columns"),
        ({"n": int}, {"index": ["n", []]}, r"has index=\[\], which is not one of its columns"),
    ],
)
def test_a_wrong_declaration_is_refused_by_plugin_class_and_column(
    annotations: dict[str, Any], terms: dict[str, Any], text: str
) -> None:
    bad = declare(annotations, **terms)
    with pytest.raises(DeclarationError, match=rf"tables\[0\], the class .*Bad, {text}"):
        Plugin(tables=[bad])


def test_a_default_that_does_not_fit_is_refused() -> None:
    class Bad(Table):
        n: int = "x"  # type: ignore[assignment]

    with pytest.raises(DeclarationError, match="has a default that does not fit: n takes int"):
        Plugin(tables=[Bad])


def test_an_index_that_is_added_finds_the_rows_of_several_batches(tables: Tables) -> None:
    class Bare(Table, rows=2000, name="indexed"):
        n: int

    class Indexed(Table, rows=2000, name="indexed", index="n"):
        n: int

    with transaction():
        for n in range(1200):
            Bare.set(f"{n:04}", n=n % 2)
    assert len(Indexed.where(n=1)) == 600
    assert sorted(row.key for row in Indexed.where(n=0))[-1] == "1198"
