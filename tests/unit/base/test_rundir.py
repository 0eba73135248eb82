"""Sockets in the data directory."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from skep.base import rundir
from skep.base.errors import UsageError
from skep.base.rundir import RunDir, bind_unix, unix_address


def test_a_socket_is_for_its_owner_alone_from_the_first_moment(tmp_path: Path) -> None:
    with bind_unix(tmp_path / "control.sock"):
        assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o600


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    bind_unix(path).close()
    assert path.is_socket()
    with bind_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_path_too_long_for_the_kernel_works_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    path = folder / "control.sock"
    assert len(str(path)) > 108
    with bind_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(unix_address(path))


def test_a_data_directory_on_a_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir, "network_file_system", lambda path: "NFS")
    with pytest.raises(UsageError, match=r"network file system \(NFS\).*--data-dir"):
        RunDir(tmp_path / "data").create()


def test_fifos_in_the_directory_make_nobody_wait(tmp_path: Path) -> None:
    """D1: the user of the platform put them there, and a verb of root's waited for ever."""
    names = ("supervisor.pid", "supervisor.lock", ".env")
    for name in names:
        os.mkfifo(tmp_path / name)
    code = (
        "import sys; from pathlib import Path; from skep.base.rundir import RunDir; "
        "from skep.config.env import dotenv; here = RunDir(sys.argv[1]); "
        "print(here.pid(), here.is_held()); "
        "dotenv._File.at(here.path / '.env')"
    )
    # In a process of its own, which can be given up
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=20
    )
    assert done.stdout == "None False\n"
    assert f"{tmp_path / '.env'} is not a regular file." in done.stderr
