"""What root does at a start: it becomes another user, and nothing that user wrote steers it."""

import functools
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packages import require
from tests.platform_process import ROOT, Platform

NOBODY, THIRD = 65534, 65533
PORTS = ("--port", "0", "--admin-port", "0")
AS_NOBODY = ("--user", str(NOBODY))

# In a mount namespace of its own: what is closed to others is covered, and what is needed of it put
# back in its place.
OPENED = """
mount --bind "$2" "$3" && mount -t tmpfs -o mode=755 none "$1" && mkdir -p "$2" &&
mount --bind "$3" "$2" && shift 3 && exec "$@"
"""


def _others_can_run_us() -> bool:
    """Whether another user can run this interpreter and read this tree: not below /root."""
    command = [sys.executable, "-P", "-c", "import skep.cli.main"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    try:
        return subprocess.run(command, env=environment, user=NOBODY).returncode == 0
    except OSError:
        return False


def _where_others_can_run_us(place: Path) -> list[str]:
    """Return what has to go before a command so that others can run this interpreter."""
    interpreter = Path(sys.executable).resolve()
    closed = next(p for p in reversed(interpreter.parents) if not p.stat().st_mode & stat.S_IXOTH)
    needed = closed / interpreter.relative_to(closed).parts[0]
    return [require("unshare"), "-m", "sh", "-c", OPENED, "sh", *map(str, (closed, needed, place))]


def as_root(test: Callable[[Platform], None]) -> Callable[[Path], None]:
    """Give a test a platform in a directory of NOBODY's, where that user can run it."""

    @functools.wraps(test)
    def whole(tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root has privileges to give up")
        if not _others_can_run_us():
            before = _where_others_can_run_us(tmp_path)
            again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            command = [*before, *again, f"{__file__}::{test.__name__}"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            shown = done.stdout + done.stderr
            assert (done.returncode, "1 passed" in done.stdout) == (0, True), shown
            return
        # Not in tmp_path: pytest closes what is above it to other users, again and again
        with tempfile.TemporaryDirectory() as place:
            os.chown(place, NOBODY, NOBODY)
            platform = Platform(Path(place))
            os.chown(platform.plugins, NOBODY, NOBODY)
            try:
                test(platform)
            finally:
                platform.kill_tree()

    whole.__annotations__ = {"tmp_path": Path}
    del whole.__wrapped__  # pytest reads the arguments of this one
    return whole


def _low_port() -> int:
    """Return a free port below 1024, another one for each run: others may test on this machine."""
    while True:
        port = random.randrange(600, 1024)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@as_root
def test_the_privileges_of_root_are_given_up_once_the_ports_are_bound(platform: Platform) -> None:
    shutil.copytree(ROOT / "plugins", platform.plugins, dirs_exist_ok=True)
    shutil.copytree(ROOT / "config-samples", platform.samples, dirs_exist_ok=True)
    # Given a data directory of root's, in a place where only root can write
    with tempfile.TemporaryDirectory() as roots:
        os.chmod(roots, 0o755)
        platform.data_dir = Path(roots, "data")
        platform.environment["PLATFORM_DATA_DIR"] = str(platform.data_dir)
        platform.data_dir.mkdir(mode=0o700)
        (platform.data_dir / "of-before").touch()
        try:
            _serve_as_nobody(platform)
        finally:
            platform.stop()


def _serve_as_nobody(platform: Platform) -> None:
    # A port below 1024 is bound, although those who serve on it could not have done that
    low = _low_port()
    platform.start(*AS_NOBODY, "--port", str(low), "--admin-port", "0")
    assert platform.url == f"http://127.0.0.1:{low}"
    for pid in platform.tree():
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
        assert "NoNewPrivs:\t1" in status
    owners = {p.stat().st_uid for p in [platform.data_dir, *platform.data_dir.rglob("*")]}
    assert owners == {NOBODY}
    # Reloads and restarts go on as that user, on the same port
    for verb in ("reload", "restart"):
        done = platform.cli(verb)
        assert done.returncode == 0, done.stderr + platform.output()
    assert platform.get()["greeting"] == "Hello from the hive"


@as_root
def test_nothing_that_the_user_can_write_decides_what_root_opens(platform: Platform) -> None:
    """D1, B6: links, settings and folders of the user's never reach a file of root's; and
    `start -d --user` returns when the platform serves."""
    with tempfile.TemporaryDirectory() as roots:
        secret, closed = Path(roots, "shadow"), Path(roots, "closed")
        secret.write_text("root's own\n")
        closed.mkdir(mode=0o700)
        before = _state(secret, closed)
        # Given a data directory and a .env.local in which the user leads to files of root's
        start = ("start", "-d", *PORTS)
        local = platform.directory / ".env.local"
        for name, target in (
            ("platform.log", secret),
            ("mesh", closed),
            ("supervisor.lock", secret),
        ):
            platform.data_dir.mkdir(mode=0o700)
            (platform.data_dir / name).symlink_to(target)
            _belongs_to_nobody(platform.directory)
            refused = platform.cli(*start, *AS_NOBODY)
            assert refused.returncode in (1, 2), (name, refused.stdout, refused.stderr)
            shutil.rmtree(platform.data_dir)
        for key, value in (
            ("LOG_FILE", secret),
            ("DATA_DIR", closed),
            ("DATA_DIR", closed / "new"),
        ):
            del platform.environment["PLATFORM_DATA_DIR"]
            local.write_text(f"PLATFORM_{key}={value}\n")
            _belongs_to_nobody(platform.directory)
            refused = platform.cli(*start, *AS_NOBODY)
            assert refused.returncode == 2, (key, refused.stdout, refused.stderr)
            platform.environment["PLATFORM_DATA_DIR"] = str(platform.data_dir)
        # When root is led to run it as root, or to load what a third user can write
        local.write_text("PLATFORM_USER=root\n")
        as_root_itself = platform.cli(*start)
        local.unlink()
        # Nor does a group alone make it another user
        group = platform.cli(*start, "--group", str(NOBODY))
        assert (group.returncode, "Root would use .env" in group.stderr) == (8, True), group.stderr
        os.chmod(platform.plugins, 0o777)
        loaded = platform.cli(*start, *AS_NOBODY)
        os.chmod(platform.plugins, 0o755)
        # Then each is refused by its name, and nothing of root's has changed
        assert (as_root_itself.returncode, loaded.returncode) == (8, 8), loaded.stderr
        led = f"Root would use .env, which others can change through {platform.directory}"
        assert led in as_root_itself.stderr
        assert (
            "The plugin folder plugins can be changed by others than root and nobody"
            in loaded.stderr
        )
        # Nor what a third user has in a folder that only root and this user can change
        _belongs_to_third(platform.plugins / "third")
        third = platform.cli(*start, *AS_NOBODY)
        (platform.plugins / "third").unlink()
        assert third.returncode == 8, third.stderr
        assert f"through plugins/third (owner {THIRD}, mode 644)" in third.stderr
        assert (_state(secret, closed), list(closed.iterdir())) == (before, [])
    # And where nothing is amiss, the verb returns when the platform serves
    serving = platform.cli(*start, *AS_NOBODY)
    assert serving.returncode == 0, serving.stderr
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in platform.tree()} == {NOBODY}
    assert (platform.data_dir / "platform.log").stat().st_uid == NOBODY
    # Verbs of root's reach it, and do what its files say as the user
    for verb in ("status", "queue ls", "config explain PLATFORM_PORT"):
        asked = platform.cli(*verb.split())
        assert asked.returncode in (0, 1), (verb, asked.stderr)
        assert "not permitted" not in asked.stderr.lower()
    _check_as_nobody(platform)
    assert platform.cli("stop").returncode == 0
    # Also where no data directory is there yet
    shutil.rmtree(platform.data_dir)
    _check_as_nobody(platform)
    # A data directory of root's among files of the user's: asked as root, but nothing is loaded
    shutil.rmtree(platform.data_dir)
    platform.data_dir.mkdir(mode=0o700)
    assert platform.cli("status").returncode == 3
    refused = platform.cli("config", "check", "--applied")
    assert (refused.returncode, "Root would use .env" in refused.stderr) == (8, True)
    # As another user the link to it leads nowhere
    platform.data_dir.rename(platform.directory / "of-root")
    platform.data_dir.symlink_to(platform.directory / "of-root")
    os.chown(platform.data_dir, NOBODY, NOBODY, follow_symlinks=False)
    assert platform.cli("config", "check", "--applied").returncode not in (0, 8)


def _check_as_nobody(platform: Platform) -> None:
    """Find that the command of --config-check runs as the user, as do the plugins."""
    seen = platform.directory / "seen"
    done = platform.cli("config", "check", "--applied", "--config-check", f"id -u > {seen} #")
    assert done.returncode == 0, done.stderr
    assert seen.read_text() == f"{NOBODY}\n"
    owners = {path.stat().st_uid for path in platform.data_dir.rglob("*")}
    assert owners == {NOBODY}
    seen.unlink()


def _state(*paths: Path) -> list[tuple[int, int, int]]:
    found = [path.stat() for path in paths]
    return [(status.st_uid, status.st_mode, status.st_mtime_ns) for status in found]


def _belongs_to_third(path: Path) -> None:
    path.touch(0o644)
    os.chown(path, THIRD, THIRD)


def _belongs_to_nobody(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
