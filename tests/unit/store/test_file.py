"""The file of the store, and what becomes of a damaged one."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skep.base.errors import EngineError
from skep.engine.contract import Envelope
from skep.store.file import schema
from skep.store.file.damage import Damage, keep
from skep.store.file.opening import connect
from skep.store.state.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def a_full_file(path: Path) -> None:
    database = Database(path, "run-1", 1)
    database.moves.put([Envelope(f"{n}", "orders.Send", b"x" * 500) for n in range(100)], 1)
    database.commit()
    database.close()


def told_in(database: sqlite3.Connection) -> str:
    """Return what the file itself says has happened to it."""
    return str(database.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone())


def the_file_aside(path: Path) -> Path:
    (aside,) = (p for p in path.parent.glob("queue.db.corrupt-*") if not p.name.endswith("-wal"))
    return aside


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    connect(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["no database", "a broken header"])
def test_a_file_that_cannot_be_read_is_moved_aside_loudly_and_a_new_one_begun(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a file that is damaged
    a_full_file(path)
    content = bytearray(path.read_bytes())
    if damage == "no database":
        content = bytearray(b"this is no database" * 500)
    else:
        content[:100] = bytes(100)
    path.write_bytes(content)
    # When it is opened
    with caplog.at_level(logging.CRITICAL), closing(connect(path)) as database:
        # Then there is one with what could be read, and the old one as it was beside it
        number = 0 if damage == "no database" else 100
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (number,)
    aside = the_file_aside(path)
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text


def test_broken_pages_cost_their_own_rows_only_and_those_become_dead_letters(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """D3: what was on a page that is damaged is lost, and nothing else."""
    # Given a file of which two pages are broken
    a_full_file(path)
    content = bytearray(path.read_bytes())
    content[4096 * 20 : 4096 * 22] = b"\xff" * 4096 * 2
    path.write_bytes(content)
    # When it is opened
    with closing(connect(path)) as database:
        told = told_in(database)
        # Then all rows of the other pages are there as they were
        bodies = database.execute("SELECT DISTINCT body FROM delivery").fetchall()
        kept = {id_ for (id_,) in database.execute("SELECT id FROM delivery")}
        # And those of the broken ones are dead letters, by their ids
        dead = dict(database.execute("SELECT id, reason FROM dead").fetchall())
    assert bodies == [(b"x" * 500,)]
    assert 80 <= len(kept) < 100
    assert kept | dead.keys() == {f"{n}" for n in range(100)}
    assert set(dead.values()) == {"corrupt"}
    # And operators are told what was done
    aside = the_file_aside(path)
    assert aside.read_bytes() == content
    assert f"{len(kept)} deliveries" in told
    assert str(aside) in told


def test_an_index_that_cannot_be_read_costs_nothing(path: Path) -> None:
    """D3: an index that is damaged costs no row."""
    # Given a file of which an index cannot be read
    a_full_file(path)
    with closing(sqlite3.connect(path)) as database:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'delivery_ready'"
        (page,) = database.execute(sql).fetchone()
    content = bytearray(path.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    path.write_bytes(content)
    # When it is opened
    with closing(connect(path)) as database:
        told = told_in(database)
        # Then all rows are there, and can be found by the index
        sql = "SELECT count(*) FROM delivery INDEXED BY delivery_ready WHERE state = 0"
        assert database.execute(sql).fetchone() == (100,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert "100 deliveries" in told


def test_a_new_file_that_was_not_given_its_name_is_taken_when_there_is_no_other(
    path: Path,
) -> None:
    """D3: the store may be killed between moving the damaged file aside and naming the new one."""
    a_full_file(path)
    with closing(sqlite3.connect(path)) as database, database:
        keep(database, Damage(1, "was damaged"))
    path.rename(path.with_name("queue.db.new"))
    with closing(connect(path)) as database:
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (100,)
    # And one beside a file that is there is not done, and forgotten
    path.with_name("queue.db.new").write_bytes(b"half")
    with closing(connect(path)) as database:
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (100,)
    assert not path.with_name("queue.db.new").exists()


def test_a_new_file_that_is_half_written_is_not_taken_in_silence(path: Path) -> None:
    """D7: the file was taken away, and the store was killed while it wrote what it held anew."""
    a_full_file(path)
    path.rename(path.with_name("queue.db.new"))
    with closing(connect(path)) as database:
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (0,)
        assert "that is lost" in told_in(database)


@pytest.mark.parametrize("place", [10, 24, 57, 60, 64])
def test_a_byte_of_the_header_costs_nothing(path: Path, place: int) -> None:
    """D3: what is damaged in the header is known from any other file."""
    a_full_file(path)
    overwrite(path, place, b"\xc5")
    with closing(connect(path)) as database:
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (100,)


def overwrite(path: Path, place: int, with_bytes: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[place : place + len(with_bytes)] = with_bytes
    path.write_bytes(content)


@pytest.mark.parametrize("word", [b"autoindex_dead", b"delivery_blocked", b"DEFAULT 1", b"limits"])
def test_a_byte_of_the_description_of_the_tables_costs_nothing(path: Path, word: bytes) -> None:
    """D3: a byte of the first page, which is no UTF-8 or gives a column another name."""
    a_full_file(path)
    content = path.read_bytes()
    for harm in (b"\xc5", b"q"):
        path.write_bytes(content)
        overwrite(path, content.index(word), harm)
        with closing(connect(path)) as database:
            assert database.execute("SELECT count(*) FROM delivery").fetchone() == (100,)
            assert "is damaged" in told_in(database)


def test_a_file_whose_end_is_missing_keeps_what_is_there(path: Path) -> None:
    """D3: SQLite refuses a file that is too short; its other pages can be read."""
    a_full_file(path)
    path.write_bytes(path.read_bytes()[:-8192])
    with closing(connect(path)) as database:
        (number,) = database.execute("SELECT count(*) FROM delivery").fetchone()
        assert number >= 60
        assert "is damaged" in told_in(database)


def test_a_page_of_an_earlier_time_is_noticed(path: Path) -> None:
    """D3: a page that is whole and stale, because a write was lost: what the index of the ids knows
    beyond it becomes dead letters."""
    a_full_file(path)
    with closing(sqlite3.connect(path)) as database:
        # What SQLite itself would not have done: rows go, and the index stays as it was
        database.execute("PRAGMA writable_schema = ON")
        hidden = "DELETE FROM sqlite_master WHERE type = 'index' AND tbl_name = 'delivery'"
        kept = database.execute(
            "SELECT * FROM sqlite_master WHERE tbl_name = 'delivery'"
        ).fetchall()
        database.execute(hidden)
        sql = next(row[4] for row in kept if row[0] == "table")
        database.execute(
            "UPDATE sqlite_master SET sql = ? WHERE name = 'delivery'", (sql.replace("UNIQUE", ""),)
        )
        database.commit()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("DELETE FROM delivery WHERE seq <= 10").rowcount == 10
        database.execute("PRAGMA writable_schema = ON")
        database.execute("DELETE FROM sqlite_master WHERE tbl_name = 'delivery'")
        database.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)
        database.commit()
    with closing(connect(path)) as database:
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (90,)
        assert database.execute("SELECT count(*) FROM dead").fetchone() == (10,)
        assert "10 that were damaged" in told_in(database)


def test_a_file_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(EngineError, match="newer version of the platform"):
        connect(path)
    assert path.exists()


# A file as the first version of the platform made it, with one delivery in each state.
FORMAT_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, queue TEXT NOT NULL,
    priority INTEGER NOT NULL, due INTEGER NOT NULL, put_at INTEGER NOT NULL,
    headers TEXT NOT NULL, body BLOB NOT NULL, state INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1, losses INTEGER NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '', serial INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX delivery_ready ON delivery (queue, priority DESC, seq) WHERE state = 0;
CREATE INDEX delivery_scheduled ON delivery (due) WHERE state = 1;
CREATE TABLE dead (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, queue TEXT NOT NULL,
    priority INTEGER NOT NULL, due INTEGER NOT NULL, put_at INTEGER NOT NULL,
    headers TEXT NOT NULL, body BLOB NOT NULL, attempt INTEGER NOT NULL, losses INTEGER NOT NULL,
    reason TEXT NOT NULL, error TEXT NOT NULL, died_at INTEGER NOT NULL
);
CREATE INDEX dead_queue ON dead (queue, seq);
INSERT INTO meta VALUES ('start', '7'), ('run', 'run-1');
INSERT INTO delivery VALUES
    (1, 'ready', 'orders.Send', 'default', 0, 0, 5, '{"a":"b"}', x'7b7d', 0, 2, 1, '', 0),
    (2, 'later', 'orders.Send', 'default', 0, 9000, 5, '', x'7b7d', 1, 1, 0, '', 0),
    (3, 'leased', 'orders.Send', 'default', 0, 0, 5, '', x'7b7d', 2, 1, 0, 'a', 99);
INSERT INTO dead VALUES
    (1, 'dead', 'orders.Send', 'default', 4, 0, 5, '', x'7b7d', 3, 0, 'failed', 'Traceback', 8);
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_format_is_brought_up_with_all_it_holds(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FORMAT_1)
    database = Database(path, "run-1", 10)
    # When it is opened in the same run, then everything is there
    assert database.same_run
    stats = database.stats()["default"]
    assert (stats.ready, stats.scheduled, stats.leased, stats.dead) == (1, 1, 1, 1)
    (lease,) = database.moves.take("b", 1, ["default"], 5, 10)
    assert (lease.envelope.id, lease.envelope.headers) == ("ready", {"a": "b"})
    assert (lease.attempt, lease.losses) == (2, 1)
    # And can have what is new
    assert database.edits.edit(["dead"], "requeue", 10) == 1
    keyed = Envelope("keyed", "orders.Send", b"{}", key="k", concurrency_key="c")
    assert database.moves.put([keyed], 10)[0].id == "keyed"
    database.commit()
    database.close()
    # And it gives room back, and is not brought up twice
    with closing(connect(path)) as again:
        assert again.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert again.execute("SELECT count(*) FROM delivery").fetchone() == (5,)


# What the third format made of concurrency keys: the low one of `k` is ready because it came first,
# and `other` is blocked by what a paused queue has ready.
FORMAT_3 = """
INSERT INTO delivery
    (seq, id, name, queue, priority, due, put_at, headers, body, state, lane, rules)
VALUES
    (11, 'low', 'orders.Send', 'default', 0, 0, 5, '', x'7b7d', 0, 'k', '{}'),
    (12, 'high', 'orders.Send', 'default', 9, 0, 5, '', x'7b7d', 4, 'k', '{}'),
    (13, 'held', 'orders.Send', 'default', 0, 0, 5, '', x'7b7d', 2, 'two', '{"concurrency":2}'),
    (14, 'free', 'orders.Send', 'default', 0, 0, 5, '', x'7b7d', 0, 'two', '{"concurrency":2}'),
    (15, 'next', 'orders.Send', 'default', 0, 0, 5, '', x'7b7d', 4, 'two', '{"concurrency":2}'),
    (16, 'stuck', 'orders.Send', 'still', 0, 0, 5, '', x'7b7d', 0, 'p', '{}'),
    (17, 'other', 'orders.Send', 'default', 0, 0, 5, '', x'7b7d', 4, 'p', '{}');
INSERT INTO queue (name, paused) VALUES ('still', 1);
PRAGMA user_version = 3;
"""


def test_a_file_of_the_third_format_is_brought_up_and_its_keys_are_put_in_order(path: Path) -> None:
    """A11: the urgent one of a key goes first in a file that was written before, too."""
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FORMAT_1 + schema._VERSION_2 + schema._VERSION_3 + FORMAT_3)
    with closing(sqlite3.connect(path)) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (3,)
    database = Database(path, "run-1", 10)
    assert database.same_run
    leases = database.moves.take("b", 1, ["default", "still"], 10, 10)
    assert [lease.envelope.id for lease in leases] == ["high", "ready", "free", "other"]
    assert {(lease.cuts, lease.envelope.sender) for lease in leases} == {(0, "")}
    stats = database.stats()
    assert (stats["default"].blocked, stats["still"].ready) == (2, 1)
    database.commit()
    database.close()


def test_a_file_that_the_system_does_not_give_is_left_alone_and_named(path: Path) -> None:
    a_full_file(path)
    whole = path.read_bytes()
    path.with_name(f"{path.name}-wal").mkdir()
    with pytest.raises(
        EngineError, match=r"queue.db cannot be opened \(.+\): see whether its disk"
    ):
        connect(path)
    assert path.read_bytes() == whole
