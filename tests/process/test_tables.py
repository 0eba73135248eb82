"""Shared tables between real processes, which may be killed at any moment."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skep.table.binding import Tables, bind
from tests.process.store_child import start_python
from tests.process.table_child import Shared

KILLS = 200


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    monkeypatch.setenv("PLATFORM_DATA_DIR", str(tmp_path))
    made = Tables(tmp_path / "tables")
    before = bind(made)
    yield made
    made.close()
    bind(before)


def start(what: str, **options: Any) -> subprocess.Popen[bytes]:
    return start_python("-m", "tests.process.table_child", what, **options)


def value(key: str) -> int:
    row = Shared.get(key)
    return row.n if row else 0


@pytest.mark.process
def test_eight_processes_lose_no_increment(tables: Tables) -> None:
    """laravels.md §6: shared table."""
    children = [start("10000") for _ in range(8)]
    assert [child.wait(120) for child in children] == [0] * 8
    assert value("all") == 80_000


@pytest.mark.process
def test_a_writer_killed_at_any_moment_leaves_the_table_readable_and_writable(
    tables: Tables,
) -> None:
    dice = random.Random(13)
    breeder = start("breed", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert breeder.stdin
    assert breeder.stdout
    for n in range(KILLS):
        breeder.stdin.write(b"%d\n" % n)
        breeder.stdin.flush()
        pid = int(breeder.stdout.readline())
        # So many increments of ours are a random time of the child's, without a sleep.
        for _ in range(dice.randrange(1, 2000)):
            Shared.increment("mine", "n")
        os.kill(pid, signal.SIGKILL)
        before = value("mine")
        Shared.increment("mine", "n")
        assert value("mine") == before + 1
        assert value("left") == value("right")
    breeder.stdin.close()
    breeder.stdout.close()
    assert breeder.wait(10) == 0
    keys = {row.key for row in Shared.rows()}
    assert Shared.count() == len(keys)
    assert {row.key for group in range(5) for row in Shared.where(group=group)} == keys
    tables.environment.lmdb.reader_check()
    readers = tables.environment.lmdb.readers().splitlines()[1:]
    assert {int(line.split()[0]) for line in readers} <= {os.getpid()}
    assert value("left") > 0


@pytest.mark.process
def test_a_forked_child_is_refused_and_does_not_disturb_its_parent(tables: Tables) -> None:
    code = """
import os, sys
from skep import TableError
from tests.process.table_child import Shared
Shared.increment("all", "n")
if os.fork() == 0:
    try:
        Shared.increment("all", "n")
    except TableError as error:
        sys.exit(7 if "forked" in str(error) else 1)
_, status = os.wait()
Shared.increment("all", "n")
sys.exit(os.waitstatus_to_exitcode(status))
"""
    child = start_python("-c", "import sys; sys.path.insert(0, '.')" + code)
    assert child.wait(30) == 7
    assert value("all") == 2
