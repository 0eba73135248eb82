"""The last lines of one process, in files of their own."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.base.logs import kept
from skep.base.logs.kept import KeptLog

log = logging.getLogger("kept.test")


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.setLevel(logging.INFO)
    yield
    for handler in [handler for handler in root.handlers if handler not in before]:
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


def said(lines: list[str]) -> list[str]:
    return [json.loads(line)["message"] for line in lines]


def test_lines_are_kept_and_read_once(tmp_path: Path) -> None:
    one = KeptLog(tmp_path / "logs", "process.p.Echo.0")
    tail = one.tail()
    assert tail.read() == []
    one.keep(3)
    log.info("first")
    log.info("second\nhalf")
    entry = json.loads(tail.read()[0])
    assert (entry["slot"], entry["generation"]) == ("process.p.Echo.0", 3)
    log.info("third")
    assert said(tail.read()) == ["third"]
    assert tail.read() == []
    assert said(one.tail().read()) == ["first", "second\nhalf", "third"]
    assert [found.slot for found in KeptLog.all(tmp_path / "logs")] == ["process.p.Echo.0"]
    assert (one.path.stat().st_mode & 0o777, one.path.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )


def test_the_files_are_bounded_and_a_tail_follows_from_one_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LARGEST", 2000)
    one = KeptLog(tmp_path, "process.p.Echo.0")
    one.keep(1)
    tail, read = one.tail(), list[str]()
    for number in range(100):
        log.info("line %d", number)
        read += said(tail.read())
    assert read == [f"line {number}" for number in range(100)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    late = said(one.tail().read())
    assert late == [f"line {number}" for number in range(100 - len(late), 100)]


def test_a_folder_that_cannot_be_made_does_not_stop_the_process(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    KeptLog(tmp_path / "logs", "process.p.Echo.0").keep(1)
    log.info("still here")
