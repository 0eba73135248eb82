"""Giving up root, in a child: there is no way back."""

import os
import pwd
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from skep.base.errors import PrivilegeError
from skep.base.system import privileges

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
NOBODY = 65534


def in_a_child(check: Callable[[], None]) -> None:
    """Run a check in a fork of this process; it has to come to its end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            check()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_who_is_not_named_is_nobody_else() -> None:
    assert privileges.identity("", "") is None


def test_users_and_groups_go_by_name_and_by_number() -> None:
    name = pwd.getpwuid(NOBODY).pw_name
    by_name, by_number = privileges.identity(name, ""), privileges.identity(str(NOBODY), "")
    assert by_name == by_number
    assert by_name is not None
    assert by_name.uid == NOBODY
    other = privileges.identity(name, "0")
    assert other is not None
    assert (other.uid, other.gid) == (NOBODY, 0)


@pytest.mark.parametrize(("user", "group"), [("no-such-bee", ""), ("", "no-such-swarm")])
def test_who_does_not_exist_is_named(user: str, group: str) -> None:
    with pytest.raises(PrivilegeError, match=user or group):
        privileges.identity(user, group)


@AS_ROOT
def test_what_was_given_up_cannot_be_had_back_and_is_not_inherited() -> None:
    who = privileges.identity(str(NOBODY), "")
    assert who is not None

    def check() -> None:
        privileges.restrict(0, 0, new_privileges=False)
        privileges.become(who)
        assert os.getresuid() == (NOBODY,) * 3
        assert os.getresgid() == (who.gid,) * 3
        assert set(os.getgroups()) == set(who.groups)
        with pytest.raises(PermissionError):
            os.setuid(0)
        with pytest.raises(PrivilegeError, match="Only root"):
            privileges.become(privileges.identity("0", "0"))  # type: ignore[arg-type]
        status = Path("/proc/self/status").read_text()
        assert "NoNewPrivs:\t1" in status
        child = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True)
        assert "NoNewPrivs:\t1" in child.stdout
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in child.stdout

    in_a_child(check)


def test_limits_are_as_high_as_is_allowed_and_nothing_is_dumped() -> None:
    def check() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        privileges.restrict(0, 0, new_privileges=True)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        privileges.restrict(100, 0, new_privileges=True)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100

    in_a_child(check)


def test_a_limit_that_cannot_be_is_named() -> None:
    with pytest.raises(PrivilegeError, match="PLATFORM_RLIMIT_NOFILE"):
        privileges.restrict(2**62, 0, new_privileges=True)


@AS_ROOT
def test_only_what_is_root_s_is_given_away_and_no_link_is_followed(tmp_path: Path) -> None:
    who = privileges.identity(str(NOBODY), "")
    assert who is not None
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "config").mkdir(parents=True)
    outside.touch()
    for name in ("ours", "theirs"):
        (data / "config" / name).touch()
    (data / "link").symlink_to(outside)
    os.chown(data / "config" / "theirs", 12345, 12345)
    privileges.give(data, who)
    assert data.stat().st_uid == (data / "config" / "ours").stat().st_uid == NOBODY
    assert (data / "config" / "theirs").stat().st_uid == 12345
    assert outside.stat().st_uid == 0
