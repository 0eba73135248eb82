"""Who can change a path, through it or through what leads to it."""

import os
from pathlib import Path

import pytest

from skep.base.ownership import changeable, described

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


def test_owner_and_mode_are_described(place: Path) -> None:
    os.chown(place, OTHER, 0)
    assert described(place) == f"owner {OTHER}, mode 755"
