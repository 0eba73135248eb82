import json
import logging
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.history import History
from skep.config.snapshots.snapshot import Release, Snapshot


def archive(directory: Path, app: str = "orders", namespaces: tuple[str, ...] = ("a",)) -> Archive:
    return Archive(directory, app, "default", namespaces)


def snapshot(value: str = "1", namespace: str = "a", app: str = "orders") -> Snapshot:
    return Snapshot((Release(app, "default", namespace, "K", {"x": value}),), 1.0)


def test_what_was_committed_is_the_last_known_good(tmp_path: Path) -> None:
    assert archive(tmp_path).applied() is None
    assert archive(tmp_path).commit(snapshot("1\n${x}€")) is True
    assert archive(tmp_path).applied() == snapshot("1\n${x}€")


def test_what_an_earlier_version_applied_and_this_one_refuses_stands_in_nobody_s_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = {"mail.host": "1", "MAIL_HOST": "2"}
    old = Snapshot((Release("orders", "default", "a", "K", both),), 1.0)
    archive(tmp_path).store(tmp_path / "applied.json", old)
    assert archive(tmp_path).applied() is None
    assert "is ignored: The keys" in caplog.text
    kept = History(archive(tmp_path))
    kept.path(1).parent.mkdir()
    archive(tmp_path).store(kept.path(1), old)
    assert kept.load(1) is None


def test_what_was_staged_can_be_loaded_and_is_not_applied(tmp_path: Path) -> None:
    path = archive(tmp_path).stage(snapshot())
    assert path == tmp_path / "candidates" / f"{snapshot().digest}.json"
    assert archive(tmp_path).load(path) == snapshot()
    assert archive(tmp_path).applied() is None


def test_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    keeper = archive(tmp_path / "new")
    keeper.commit(snapshot())
    keeper.stage(snapshot())
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_namespace_and_its_alias_are_the_same(tmp_path: Path) -> None:
    archive(tmp_path, namespaces=("a.properties",)).commit(snapshot())
    assert archive(tmp_path).applied() == snapshot()


@pytest.mark.parametrize(
    ("stranger", "why"),
    [
        (Archive(Path(), "billing", "default", ["a"]), "another app id"),
        (Archive(Path(), "orders", "blue", ["a"]), "another app id, cluster"),
        (Archive(Path(), "orders", "default", ["a", "b"]), "list of namespaces"),
        (Archive(Path(), "orders", "default", ["b"]), "list of namespaces"),
    ],
)
def test_what_belongs_to_another_is_ignored_with_a_warning(
    tmp_path: Path, stranger: Archive, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """F39."""
    path = archive(tmp_path).stage(snapshot())
    assert stranger.load(path) is None
    assert why in caplog.text
    assert str(path) in caplog.text


def test_a_file_of_every_possible_truncation_is_ignored(tmp_path: Path) -> None:
    """F39."""
    keeper = archive(tmp_path)
    path = keeper.stage(snapshot())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert keeper.load(path) is None
    path.write_bytes(whole)
    assert keeper.load(path) == snapshot()


def test_a_changed_value_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """F39."""
    keeper = archive(tmp_path)
    path = keeper.stage(snapshot("s3cret1"))
    path.write_text(path.read_text().replace("s3cret1", "s3cret2"))
    assert keeper.load(path) is None
    assert "checksum" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b"{}", b"[" * 100_000])
def test_what_is_no_snapshot_at_all_is_ignored(
    tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """F39."""
    (tmp_path / "applied.json").write_bytes(data)
    assert archive(tmp_path).applied() is None
    assert "is ignored" in caplog.text


def test_a_file_of_a_later_version_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F39."""
    path = archive(tmp_path).stage(snapshot())
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    assert archive(tmp_path).load(path) is None
    assert "another version" in caplog.text


def test_a_place_where_nothing_can_be_kept_is_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F40."""
    # Given a file where the directory should be: not even root gets past that
    (tmp_path / "config").touch()
    keeper = archive(tmp_path / "config")
    # When / Then it is said once, until it works again
    assert [keeper.commit(snapshot()), keeper.commit(snapshot())] == [False, False]
    assert caplog.text.count("cannot be kept") == 1
    assert keeper.applied() is None
    (tmp_path / "config").unlink()
    assert keeper.commit(snapshot()) is True
    shutil.rmtree(tmp_path / "config")
    (tmp_path / "config").touch()
    assert keeper.commit(snapshot()) is False
    assert caplog.text.count("cannot be kept") == 2


def test_a_candidate_that_cannot_be_kept_is_an_error_that_names_the_place(
    tmp_path: Path,
) -> None:
    """F40."""
    (tmp_path / "config").touch()
    with pytest.raises(ConfigError, match=f"kept in {tmp_path}/config/candidates"):
        archive(tmp_path / "config").stage(snapshot())


def test_whoever_reads_while_another_writes_sees_a_whole_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F41."""
    keeper = archive(tmp_path)
    keeper.commit(snapshot("0"))
    done = threading.Event()

    def write() -> None:
        for n in range(100):
            keeper.commit(snapshot(str(n) * (n * 50)))
        done.set()

    writer = threading.Thread(target=write)
    with caplog.at_level(logging.WARNING):
        writer.start()
        seen = []
        while not done.is_set():
            seen.append(archive(tmp_path).applied())
        writer.join()
    assert None not in seen
    assert caplog.text == ""
    assert sorted(os.listdir(tmp_path)) == ["applied.json", "namespaces"]


def test_pruning_keeps_the_newest_candidates_and_no_litter(tmp_path: Path) -> None:
    keeper = archive(tmp_path)
    paths = [keeper.stage(snapshot(str(n))) for n in range(10)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "candidates" / "x.json.tmp-1").touch()
    keeper.prune(keep=3)
    assert set((tmp_path / "candidates").iterdir()) == set(paths[-3:])


def test_pruning_where_nothing_was_staged_does_nothing(tmp_path: Path) -> None:
    archive(tmp_path).prune()
    assert os.listdir(tmp_path) == []
