"""The applied snapshots on the disk and the audit log."""

import stat
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.env import atomic
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.history import KEPT, History, HistoryState
from skep.config.snapshots.snapshot import Release, Snapshot


def history(directory: Path) -> History:
    return History(Archive(directory, "orders", "default", ("a",)))


def snapshot(value: str) -> Snapshot:
    return Snapshot((Release("orders", "default", "a", "K", {"x": value}),), 1.0)


def test_a_snapshot_that_was_added_can_be_loaded_by_its_number(tmp_path: Path) -> None:
    first = history(tmp_path).add(snapshot("one"))
    second = history(tmp_path).add(snapshot("two"))
    assert (first, second) == (1, 2)
    assert history(tmp_path).load(1) == snapshot("one")
    assert history(tmp_path).load(3) is None


def test_only_the_newest_are_kept_and_no_number_is_given_twice(tmp_path: Path) -> None:
    numbers = [history(tmp_path).add(snapshot(str(i))) for i in range(KEPT + 3)]
    assert numbers == list(range(1, KEPT + 4))
    assert history(tmp_path).numbers() == numbers[3:]
    history(tmp_path).set_state(HistoryState(applied=numbers[-1]))
    for path in (tmp_path / "history").iterdir():
        path.unlink()
    assert history(tmp_path).add(snapshot("new")) == numbers[-1] + 1


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    kept = history(tmp_path)
    kept.add(snapshot("one"))
    targets = (kept.path(2), tmp_path / "state.json", tmp_path / "applied.json")
    halves = [atomic.prepare(target, b"half") for target in targets]
    kept.add(snapshot("two"))
    kept.set_state(HistoryState(applied=2))
    Archive(tmp_path, "orders", "default", ("a",)).commit(snapshot("two"))
    assert [half for half in halves if half.exists()] == []
    assert kept.numbers() == [1, 2]


def test_zero_is_the_one_before_that_in_force(tmp_path: Path) -> None:
    kept = history(tmp_path)
    for value in "abc":
        kept.add(snapshot(value))
    kept.set_state(HistoryState(applied=3))
    assert kept.find(0) == kept.path(2)
    assert kept.find(1) == kept.path(1)


@pytest.mark.parametrize(("number", "named"), [(9, "snapshot 9"), (0, "before the one in force")])
def test_what_is_not_there_is_named_with_what_is(tmp_path: Path, number: int, named: str) -> None:
    kept = history(tmp_path)
    kept.add(snapshot("a"))
    kept.set_state(HistoryState(applied=1))
    with pytest.raises(ConfigError, match=rf"{named}.* there are: 1\."):
        kept.find(number)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"applied": 1, "more": 2}', "\xff"])
def test_a_state_that_cannot_be_read_is_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_bytes(content.encode("latin-1"))
    assert history(tmp_path).state() == HistoryState()


def test_the_state_survives(tmp_path: Path) -> None:
    state = HistoryState(applied=4, digest="d", good=3, pinned=2)
    history(tmp_path).set_state(state)
    assert history(tmp_path).state() == state


def test_the_audit_log_has_no_secret_and_belongs_to_its_owner(tmp_path: Path) -> None:
    changes = [
        ("DB_PASSWORD", "hunter2", "hunter3"),
        ("DSN", None, "mysql://root:s3cret@db/x"),
        ("GREETING", "hi", None),
    ]
    history(tmp_path).record({"outcome": "committed"}, changes)
    file = tmp_path / "audit.jsonl"
    assert not any(word in file.read_text() for word in ("hunter", "s3cret"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (entry,) = history(tmp_path).audit()
    assert entry["outcome"] == "committed"
    assert entry["changes"][2] == {"key": "GREETING", "old": "hi", "new": None}


def test_a_line_that_was_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    kept = history(tmp_path)
    for outcome in ("committed", "refused", "live"):
        kept.record({"outcome": outcome}, [])
    file = tmp_path / "audit.jsonl"
    file.write_bytes(file.read_bytes() + b'{"outcome": "comm')
    kept.record({"outcome": "rolled back"}, [])
    outcomes = [entry["outcome"] for entry in kept.audit()]
    assert outcomes == ["committed", "refused", "live", "rolled back"]


def test_the_audit_log_stays_bounded(tmp_path: Path) -> None:
    kept = history(tmp_path)
    (tmp_path / "audit.jsonl").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    kept.record({"outcome": "committed"}, [])
    assert (tmp_path / "audit.jsonl").stat().st_size < 1024
    assert (tmp_path / "audit.jsonl.1").exists()


def test_a_history_that_cannot_be_written_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history").write_text("a file where the folder should be")
    (tmp_path / "audit.jsonl").mkdir()
    kept = history(tmp_path)
    assert kept.add(snapshot("a")) == 1
    kept.record({"outcome": "committed"}, [])
    assert caplog.text.count("cannot be written") == 2
