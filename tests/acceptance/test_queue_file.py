"""The queue's file under a running platform, and what an operator is told and can do about it."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.workbench import Workbench, workbench
from tests.support import wait_until

NUMBER = 50


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("file"), PLATFORM_TASK_WORKERS="1") as made:
        fields = [{"name": f"mark-{n:03}"} for n in range(NUMBER)]
        made.deliver("Work", *fields, delay=3600)
        yield made


def file_of(bench: Workbench) -> Path:
    return bench.platform.data_dir / "queue.db"


def counts(bench: Workbench) -> tuple[int, int]:
    """Return how many deliveries wait, and how many are dead letters."""
    queues = bench.verb("queue", "ls")
    return sum(q["scheduled"] for q in queues), sum(q["dead"] for q in queues)


def degraded_by(bench: Workbench, words: str) -> str:
    """Wait until the status is degraded by a reason with these words; return it."""

    def reason() -> str:
        status = bench.platform.status()
        found = [reason for reason in status.get("reasons", []) if words in reason]
        return found[0] if found and status["state"] == "degraded" else ""

    return wait_until(reason)


def acknowledged(bench: Workbench, words: str) -> None:
    """Acknowledge what has happened; the platform is well then."""
    assert words in bench.platform.cli("queue", "acknowledge").stdout
    wait_until(lambda: bench.platform.status()["state"] == "running")
    assert "Nothing has happened" in bench.platform.cli("queue", "acknowledge").stdout


def test_a_queue_that_is_removed_while_it_runs_loses_nothing(bench: Workbench) -> None:
    """B11, D7: queue.db is removed under a running platform: the log and the status say it, what
    was delivered before is in a new file, and a restart finds it there."""
    # When the file and all that belongs to it are removed
    for part in file_of(bench).parent.glob("queue.db*"):
        part.unlink()
    # Then that is noticed, and shown until it is acknowledged
    assert f"{NUMBER} deliveries" in degraded_by(bench, "while it was in use")
    assert "while it was in use" in bench.platform.output()
    # And what was delivered is there, for the next platform too
    bench.platform.stop()
    bench.platform.start()
    assert counts(bench) == (NUMBER, 0)
    degraded_by(bench, "while it was in use")
    acknowledged(bench, "while it was in use")


def test_damage_costs_its_own_rows_only_and_they_can_be_recovered(bench: Workbench) -> None:
    """D2, D3: a page and a row are damaged while the platform is down: the other deliveries wait as
    before, the damaged ones are dead letters, the status says so until it is acknowledged, and a
    copy of the file brings them back."""
    platform, file = bench.platform, file_of(bench)
    platform.stop()
    backup = file.with_name("backup.db")
    shutil.copy(file, backup)
    # Given a row with a byte that is not UTF-8, and a page of rows that is overwritten
    content = bytearray(file.read_bytes())
    assert content.count(b"bench.Work") >= NUMBER
    pages = {content.index(b"mark-040") // 4096, content.rindex(b"mark-040") // 4096}
    for page in pages:
        content[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    row = next(n for n in range(NUMBER) if b"mark-%03d" % n in content)
    where = content.rindex(b"bench.Work", 0, content.rindex(b"mark-%03d" % row))
    content[where] = 0xFF
    file.write_bytes(content)
    # When the platform is started again
    platform.start()
    degraded_by(bench, "is damaged")
    # Then everything is there, or a dead letter
    waiting, dead = counts(bench)
    assert waiting + dead == NUMBER
    assert 2 <= dead < NUMBER - 10
    assert {letter["reason"] for letter in bench.verb("dead", "ls")} == {"corrupt"}
    # And the file as it was lies beside it; what could be read of it is not taken twice
    (aside,) = (p for p in file.parent.glob("queue.db.corrupt-*") if p.suffix[-4:] != "-wal")
    assert f"0 of {waiting} deliveries" in platform.cli("queue", "recover", str(aside)).stdout
    # And a copy brings back what was damaged, once
    told = platform.cli("queue", "recover", str(backup))
    assert f"{dead} of {NUMBER} deliveries" in told.stdout, told.stderr
    assert counts(bench) == (NUMBER, 0)
    assert f"0 of {NUMBER} deliveries" in platform.cli("queue", "recover", str(backup)).stdout
    acknowledged(bench, "is damaged")
    # And it is refused to recover from what is no queue, or from the queue itself
    for wrong, words in ((platform.log, "cannot be read at all"), (file, "is the queue of this")):
        refused = platform.cli("queue", "recover", str(wrong))
        assert refused.returncode != 0
        assert words in refused.stderr


def test_a_row_that_is_damaged_under_a_running_platform_stops_nothing(bench: Workbench) -> None:
    """D2: one byte of one row is damaged while the platform runs: the other tasks run."""
    (bad,) = bench.deliver("Work", {"name": "bad"}, delay=3600)
    with closing(sqlite3.connect(file_of(bench), timeout=20)) as database:
        changed = database.execute(
            "UPDATE delivery SET name = CAST(x'62ff2e58' AS TEXT), due = 0 WHERE id = ?", (bad,)
        )
        assert changed.rowcount == 1
        database.commit()
    bench.deliver("Work", *({"name": f"good {n}"} for n in range(20)), delay=0.2)
    wait_until(lambda: len([n for n in bench.names("end") if n.startswith("good")]) == 20)
    (letter,) = wait_until(lambda: [it for it in bench.verb("dead", "ls") if it["id"] == bad])
    assert letter["reason"] == "corrupt"
    assert "name is not UTF-8" in letter["error"]
    degraded_by(bench, "is damaged")
    acknowledged(bench, "is damaged")
