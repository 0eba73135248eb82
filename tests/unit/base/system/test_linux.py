"""What is asked of the kernel directly."""

from pathlib import Path

import pytest

from skep.base.system.linux import file_system, network_file_system


def test_a_local_disk_is_none_of_a_network(tmp_path: Path) -> None:
    assert file_system(tmp_path) != 0
    assert network_file_system(tmp_path) == ""


@pytest.mark.parametrize(("magic", "name"), [(0x6969, "NFS"), (0xFF534D42, "CIFS")])
def test_a_network_file_system_is_known_by_its_magic(tmp_path: Path, magic: int, name: str) -> None:
    assert network_file_system(tmp_path, lambda path: magic) == name


def test_what_is_not_there_has_no_file_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_system(tmp_path / "nothing")
