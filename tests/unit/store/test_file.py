"""The file of the store, and what becomes of a damaged one."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from skep.base.errors import EngineError
from skep.engine.base import Envelope
from skep.store.database import Database
from skep.store.file import connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def a_full_file(path: Path) -> None:
    database = Database(path)
    database.open("run-1", 1)
    database.moves.put([Envelope(f"{n}", "orders.Send", b"x" * 500) for n in range(100)], 1)
    database.commit()
    database.close()


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    connect(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["no database", "a broken page", "a broken header"])
def test_a_damaged_file_is_moved_aside_loudly_and_a_new_one_begun(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a file that is damaged
    a_full_file(path)
    content = bytearray(path.read_bytes())
    if damage == "no database":
        content = bytearray(b"this is no database" * 500)
    elif damage == "a broken page":
        content[4096 * 16 : 4096 * 18] = b"\xff" * 4096 * 2
    else:
        content[:100] = bytes(100)
    path.write_bytes(content)
    # When it is opened
    with caplog.at_level(logging.CRITICAL), closing(connect(path)) as database:
        # Then there is an empty one, and the old one as it was beside it
        assert database.execute("SELECT count(*) FROM delivery").fetchone() == (0,)
    (aside,) = path.parent.glob("queue.db.corrupt-*")
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text


def test_a_file_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(EngineError, match="newer version of the platform"):
        connect(path)
    assert path.exists()
