"""The `.env` file on a real file system."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from skep.base.errors import ConfigError
from skep.config.env import atomic, dotenv
from skep.config.env.dotenv import Written, backups
from tests.packages import require_mounts


@pytest.fixture
def env(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def content_and_version(path: Path) -> tuple[bytes, int, int]:
    """Return what changes only when a file is written: the time of the last access is left out."""
    status = path.stat()
    return path.read_bytes(), status.st_ino, status.st_mtime_ns


def names(directory: Path) -> set[str]:
    return set(os.listdir(directory))


def test_a_new_file_belongs_to_its_owner_alone_and_nothing_else_is_left(env: Path) -> None:
    old = os.umask(0)
    try:
        assert dotenv.write(env, {"A": "1"}) is Written.REPLACED
    finally:
        os.umask(old)
    assert dotenv_values(env) == {"A": "1"}
    assert mode(env) == 0o600
    assert names(env.parent) == {".env"}


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o640, 0o600), (0o400, 0o400)])
def test_a_stricter_mode_is_kept_and_a_laxer_one_is_not(env: Path, before: int, after: int) -> None:
    env.write_text("HAND=1\n")
    env.chmod(before)
    assert dotenv.write(env, {"A": "1"}) is Written.REPLACED
    assert mode(env) == after


def test_a_write_that_changes_nothing_writes_nothing(env: Path) -> None:
    env.write_text("HAND=1\n")
    dotenv.write(env, {"A": "x\n# note: y\n" + dotenv.BEGIN}, note="K1")
    before = content_and_version(env)
    assert dotenv.write(env, {"A": "x\n# note: y\n" + dotenv.BEGIN}, note="K2") is Written.NOTHING
    assert dotenv.write(env, {"A": "x\n# note: y\n" + dotenv.BEGIN}) is Written.NOTHING
    assert content_and_version(env) == before


def test_a_note_that_looks_like_a_value_is_no_change_either(env: Path) -> None:
    values = {"A": "x\n# note: y\n"}
    assert dotenv.write(env, values) is Written.REPLACED
    assert dotenv.write(env, values) is Written.NOTHING


def test_a_write_that_changes_nothing_still_closes_the_file_to_others(env: Path) -> None:
    dotenv.write(env, {"A": "1"})
    env.chmod(0o644)
    before = env.stat().st_mtime_ns
    assert dotenv.write(env, {"A": "1"}) is Written.NOTHING
    assert mode(env) == 0o600
    assert env.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "hand",
    [
        b"A=1\n# comment\n",
        b"A=1\r\n# windows\r\n",
        b"A=1\r\nB='two\r\nlines'",
        b"\xef\xbb\xbfA=1\n",
        "Ä=ö # ü".encode(),
        b"\n\n  \n",
        b"",
    ],
)
def test_hand_written_bytes_survive_ten_updates(env: Path, hand: bytes) -> None:
    """Configuration, case 4."""
    env.write_bytes(hand)
    for n in range(10):
        assert dotenv.write(env, {"N": str(n), "X": "${A}"}) is Written.REPLACED
        assert env.read_bytes().startswith(hand)
    assert dotenv_values(env)["N"] == "9"
    block = env.read_bytes().removeprefix(hand).lstrip(b"\n")
    assert block.startswith(dotenv.BEGIN.encode())


def test_a_symlink_stays_and_its_target_is_updated(tmp_path: Path) -> None:
    """Configuration, case 8."""
    target = tmp_path / "shared" / "real.env"
    target.parent.mkdir()
    target.write_text("HAND=1\n")
    link = tmp_path / ".env"
    link.symlink_to("shared/real.env")
    assert dotenv.write(link, {"A": "1"}) is Written.REPLACED
    assert link.is_symlink()
    assert dotenv_values(target) == {"HAND": "1", "A": "1"}
    assert names(target.parent) == {"real.env"}


def test_a_dangling_symlink_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("later.env")
    assert dotenv.write(tmp_path / ".env", {"A": "1"}) is Written.REPLACED
    assert dotenv_values(tmp_path / "later.env") == {"A": "1"}


def test_what_a_killed_writer_left_is_swept_even_when_nothing_changes(env: Path) -> None:
    dotenv.write(env, {"A": "1"})
    atomic.prepare(env, b"half")
    (env.parent / ".env.tmp").write_text("not ours")
    (env.parent / "other.tmp-1").write_text("another file's")
    assert dotenv.write(env, {"A": "1"}) is Written.NOTHING
    assert names(env.parent) == {".env", ".env.tmp", "other.tmp-1"}


@pytest.fixture
def quick_threads() -> Iterator[None]:
    """Threads that take turns often: the one that writes does not wait long for those that read."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 50)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("quick_threads")
def test_a_reader_never_sees_a_part_of_a_file_in_200_writes(env: Path) -> None:
    """Configuration, case 6."""

    # Given a file whose every version says one thing several times
    def version(n: int) -> dict[str, str]:
        return {f"K{i}": f"{n} '\"\n" * (n % 10) for i in range(20)}

    dotenv.write(env, version(0))
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = dotenv_values(env)
            if len(found) != 20 or len(set(found.values())) != 1:
                wrong.append(found)

    # When it is read all the time while it is written 200 times
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(1, 201):
        assert dotenv.write(env, version(n)) is Written.REPLACED
    done.set()
    for reader in readers:
        reader.join()
    # Then
    assert wrong == []
    assert names(env.parent) == {".env"}


def test_a_value_that_would_not_be_read_back_leaves_the_old_file(
    env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a rule of quoting that is wrong
    dotenv.write(env, {"A": "1"})
    before = content_and_version(env)
    monkeypatch.setattr(dotenv, "quote", lambda value: value)
    # When / Then
    with pytest.raises(ConfigError, match="value of B would not survive") as caught:
        dotenv.write(env, {"A": "1", "B": "s3cret # x"})
    assert "s3cret" not in str(caught.value)
    assert content_and_version(env) == before
    assert names(env.parent) == {".env"}


def test_a_file_that_can_only_be_guessed_at_is_not_touched(env: Path) -> None:
    env.write_text("A='open\n")
    before = content_and_version(env)
    with pytest.raises(ConfigError, match=rf"Line 1 of {env} cannot be read"):
        dotenv.write(env, {"B": "1"})
    assert content_and_version(env) == before


def test_an_edit_in_the_same_moment_is_not_lost(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody saves the file just when ours is about to take its place
    env.write_text("HAND=1\n")
    prepare = atomic.prepare
    edits = iter([b"HAND=2\n"])

    def prepare_while_edited(target: Path, data: bytes, **options: int) -> Path:
        for edit in edits:
            env.write_bytes(edit)
            break
        return prepare(target, data, mode=options["mode"])

    monkeypatch.setattr(atomic, "prepare", prepare_while_edited)
    # When / Then
    assert dotenv.write(env, {"A": "1"}) is Written.REPLACED
    assert dotenv_values(env) == {"HAND": "2", "A": "1"}
    assert names(env.parent) == {".env"}


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"A=1\nB=\xff\n", "Line 2 of .* is not UTF-8"), (b"\n\nA=\0\n", "Line 3 of .* NUL")],
)
def test_a_file_that_is_no_text_is_refused_with_its_line(env: Path, data: bytes, why: str) -> None:
    env.write_bytes(data)
    for attempt in (lambda: dotenv.read(env), lambda: dotenv.write(env, {})):
        with pytest.raises(ConfigError, match=why):
            attempt()
    assert env.read_bytes() == data


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(ConfigError, match="not a regular file"):
            dotenv.write(path, {"A": "1"})


def test_a_missing_file_reads_as_empty(env: Path) -> None:
    assert dotenv.read(env) == ""


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"the directory {tmp_path}/none must exist"):
        dotenv.write(tmp_path / "none" / ".env", {"A": "1"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_the_file_to_its_owner(env: Path) -> None:
    env.write_text("HAND=1\n")
    os.chown(env, 12345, 12346)
    dotenv.write(env, {"A": "1"})
    assert (env.stat().st_uid, env.stat().st_gid) == (12345, 12346)


MOUNTED = """
import subprocess, sys
from pathlib import Path
from skep.config.env import dotenv
from skep.config.env.dotenv import backups
from skep.config.env.dotenv import Written
source, target = map(Path, sys.argv[1:])
subprocess.run(["mount", "--bind", source, target], check=True)
print(*(dotenv.write(target, {"A": a}).name for a in ("x" * 5000, "1")))
"""


def test_a_file_that_is_a_mount_point_is_written_in_place(tmp_path: Path) -> None:
    """Configuration, case 8."""
    require_mounts()
    # Given a .env that a container's runtime has mounted over ours
    source, target = tmp_path / "host.env", tmp_path / ".env"
    source.write_text("HAND=1\n")
    target.touch()
    # When it is written twice, the second time shorter
    run = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", MOUNTED, source, target],
        capture_output=True,
        text=True,
    )
    # Then
    assert run.stdout.split() == ["IN_PLACE", "IN_PLACE"], run.stderr
    assert dotenv_values(source) == {"HAND": "1", "A": "1"}
    assert f"{target} is a mount point" in run.stderr
    assert target.read_text() == ""
    assert names(tmp_path) == {".env", "host.env"}


def test_the_last_five_old_files_are_kept_for_their_owner_and_the_live_one_never_moves(
    env: Path,
) -> None:
    env.write_text("HAND=é\n")
    texts = []
    for n in range(8):
        texts.append(env.read_text())
        assert dotenv.write(env, {"A": str(n)}, backup=True) is Written.REPLACED
        assert dotenv.write(env, {"A": str(n)}, backup=True) is Written.NOTHING
    kept = backups(env)
    assert [copy.read_text() for copy in kept] == texts[-5:]
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in kept} == {0o600}
    assert names(env.parent) == {".env", *(copy.name for copy in kept)}
