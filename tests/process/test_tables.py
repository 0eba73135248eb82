"""Shared tables between real processes, which may be killed at any moment."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skep.table.binding import Tables, bind
from tests.packages import require_mounts
from tests.platform_process import ROOT
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


def start_code(code: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start code that uses the table."""
    head = "import os, sys\nfrom skep import TableError, transaction\n"
    return start_python(
        "-c", f"{head}from tests.process.table_child import Shared\n{code}", **options
    )


@pytest.mark.process
def test_a_process_killed_inside_a_transaction_has_changed_nothing_and_locks_out_no_one(
    tables: Tables,
) -> None:
    Shared.increment("all", "n")
    code = """
with transaction():
    Shared.increment("all", "n")
    Shared.set("other", group=3)
    print(flush=True)
    sys.stdin.read()
"""
    child = start_code(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdin
    assert child.stdout.readline()
    assert value("all") == 1
    child.kill()
    child.wait()
    assert Shared.increment("all", "n") == 2
    assert (Shared.exists("other"), Shared.where(group=3), Shared.count()) == (False, [], 1)
    child.stdout.close()
    child.stdin.close()


@pytest.mark.process
@pytest.mark.parametrize("end", ["sys.exit()", "pass", "raise KeyError"])
def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(tables: Tables, end: str) -> None:
    code = f"""
with transaction():
    Shared.increment("all", "n")
    if (pid := os.fork()) == 0:
        {end}
    else:
        os.waitpid(pid, 0)
        Shared.increment("all", "n")
if pid:
    Shared.increment("all", "n")
"""
    child = start_code(code, stderr=subprocess.DEVNULL)
    assert child.wait(30) == 0
    assert value("all") == 3
    assert Shared.increment("all", "n") == 4


@pytest.mark.process
def test_processes_that_open_and_close_the_file_agree_whether_it_is_open(tables: Tables) -> None:
    """Who closes it last notes that it is complete; that would be wrong of a file in use."""
    code = """
from pathlib import Path
from skep.table.binding import current
state = Path(os.environ["PLATFORM_DATA_DIR"], "tables", "state")
for _ in range(100):
    Shared.increment("all", "n")
    assert state.read_text().startswith("open "), state.read_text()
    current().close()
    current().spaces.clear()
"""
    children = [start_code(code) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert (tables.folder / "state").read_text().split() == ["closed"]
    assert value("all") == 400


@pytest.mark.process
def test_a_full_disk_refuses_a_table_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    require_mounts()
    command = ["unshare", "-m", sys.executable, "-P", "-m", "tests.process.full_tables"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
