"""Who can change a path, through it or through what leads to it."""

import os
import struct
from pathlib import Path

import pytest

from skep.base.files.ownership import changeable, changeable_within, described

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
NOBODY, OTHER = 65534, 12345


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of root's with a file, and only root's directories above it."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    (folder / "file").touch(0o644)
    return folder


def test_what_only_root_can_write_is_changed_by_root_alone(place: Path) -> None:
    assert changeable(place / "file", {0}) is None
    assert changeable(place / "not" / "yet", {0}) is None


@pytest.mark.parametrize("through", ["file", "."])
@pytest.mark.parametrize(("mode", "gid"), [(0o775, OTHER), (0o777, 0)])
def test_a_mode_that_lets_others_write_is_found(
    place: Path, through: str, mode: int, gid: int
) -> None:
    os.chown(place / through, 0, gid)
    (place / through).chmod(mode)
    assert changeable(place / "file", {0}) == place / through
    assert (changeable(place / "file", {0}, {0, OTHER}) is None) == (gid == OTHER)


def test_what_another_user_owns_can_be_changed_by_that_user(place: Path) -> None:
    os.chown(place, NOBODY, 0)
    assert changeable(place / "file", {0}) == place
    assert changeable(place / "file", {0, NOBODY}) is None


def test_a_link_is_followed_and_both_ways_to_the_file_count(place: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(place / "file")
    os.chown(elsewhere / "link", NOBODY, NOBODY, follow_symlinks=False)
    assert changeable(elsewhere / "link", {0}) is None
    os.chown(place, NOBODY, 0)
    assert changeable(elsewhere / "link", {0}) == place
    os.chown(place, 0, 0)
    os.chown(elsewhere, NOBODY, 0)
    assert changeable(elsewhere / "link", {0}) == elsewhere


def test_others_cannot_replace_files_in_a_directory_with_the_sticky_bit(place: Path) -> None:
    place.chmod(0o1777)
    assert changeable(place / "file", {0}) is None
    assert changeable(place, {0}) == place


def test_others_can_make_what_is_not_there_in_a_directory_with_the_sticky_bit(place: Path) -> None:
    """D1: root made the data directory in /tmp, or followed the link that another user was faster
    to put there."""
    place.chmod(0o1777)
    assert changeable(place / "new", {0}) == place
    assert changeable(place / "new" / "below", {0}) == place


def test_an_access_control_list_lets_others_write(place: Path) -> None:
    """D1: where there is a list, the bits of the group are those of all users that it names."""
    entries = [(0x01, 7, -1), (0x02, 7, OTHER), (0x04, 5, -1), (0x10, 7, -1), (0x20, 5, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(place, "system.posix_acl_access", struct.pack("<I", 2) + packed)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    assert changeable(place / "file", {0}) == place


def test_a_device_stays_what_it_is_whoever_writes_to_it() -> None:
    assert changeable(Path("/dev/null"), {0}) is None


def test_what_is_in_a_folder_counts(place: Path, tmp_path: Path) -> None:
    """D1: root loaded a plugin that belonged to another user, from a folder of root's."""
    assert changeable_within(place, {0}) is None
    plugin, elsewhere = place / "plugin", tmp_path / "elsewhere"
    plugin.mkdir()
    elsewhere.mkdir()
    (plugin / "code.py").touch()
    (elsewhere / "code.py").touch()
    (place / "linked").symlink_to(elsewhere)
    for path in (plugin / "code.py", elsewhere / "code.py"):
        os.chown(path, OTHER, 0)
        found = changeable_within(place, {0})
        assert found is not None
        assert found.samefile(path)
        assert changeable_within(place, {0, OTHER}) is None
        os.chown(path, 0, 0)
    assert changeable_within(place, {0}) is None


def test_owner_and_mode_are_described(place: Path) -> None:
    os.chown(place, OTHER, 0)
    assert described(place) == f"owner {OTHER}, mode 755"


def test_modes_do_not_matter_in_a_directory_that_others_cannot_enter(
    place: Path, tmp_path: Path
) -> None:
    (place / "deep").mkdir()
    (place / "deep" / "file").touch()
    for path in (place / "file", place / "deep" / "file"):
        path.chmod(0o666)
    place.chmod(0o755)
    assert changeable_within(place, {0}) in (place / "file", place / "deep" / "file")
    place.chmod(0o700)
    assert changeable_within(place, {0}) is None
    # Where a link leads, others may come by another way; and what is theirs may be open with them
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    elsewhere.chmod(0o666)
    (place / "link").symlink_to(elsewhere)
    assert changeable_within(place, {0}) == elsewhere
    (place / "link").unlink()
    os.chown(place / "deep" / "file", NOBODY, NOBODY)
    assert changeable_within(place, {0}) == place / "deep" / "file"
