"""Sockets in the data directory."""

import socket
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
