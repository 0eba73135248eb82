"""The crontab on the disk."""

import os
from datetime import UTC
from pathlib import Path

import pytest

from skep.schedule.crontab import CrontabError
from skep.schedule.file import CrontabFile, local_zone

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root minds what others can change")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "jobs.cron"
    found.write_text("@daily true\n")
    return found


def refusal(path: Path) -> str:
    with pytest.raises(CrontabError) as raised:
        CrontabFile(str(path)).read()
    return str(raised.value)


def test_a_change_counts_when_it_is_over(path: Path) -> None:
    file = CrontabFile(str(path))
    assert file.read() == "@daily true\n"
    assert not file.changed()
    path.write_text("@hourly true\n")
    # An editor may still be at work.
    assert not file.changed()
    path.write_text("@hourly false\n")
    assert not file.changed()
    assert file.changed()
    assert file.changed()  # until it is read
    file.read()
    assert not file.changed()


@pytest.mark.parametrize("how", ["replaced", "removed", "linked elsewhere"])
def test_another_file_of_the_name_is_a_change(path: Path, how: str) -> None:
    other = path.with_name("other")
    other.write_text(path.read_text())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    file = CrontabFile(str(path))
    file.read()
    path.unlink()
    if how == "replaced":
        other.rename(path)
    elif how == "linked elsewhere":
        path.symlink_to(other)
    assert [file.changed(), file.changed()] == [False, True]


def test_what_cannot_be_read_is_named(path: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'missing'} (PLATFORM_CRONTAB) cannot be read: No such file" in refusal(
        tmp_path / "missing"
    )
    assert "Is a directory" in refusal(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "is not a regular file" in refusal(tmp_path / "fifo")
    path.write_bytes(b"@daily true\n# gr\xfcn\n")
    assert refusal(path) == f"{path}:2: the line is not UTF-8."
    path.write_bytes(b"#" * 1024 * 1024 + b"\n")
    assert "larger than 1 MiB" in refusal(path)


@AS_ROOT
def test_root_executes_nothing_that_others_can_change(path: Path) -> None:
    path.chmod(0o666)
    assert f"others can change {path} (owner root, mode 666)" in refusal(path)


def test_the_zone_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert str(local_zone()) == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "No/Where")
    assert local_zone() is UTC
