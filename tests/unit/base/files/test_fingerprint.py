"""One state of the code has one name."""

import os
from collections.abc import Iterable
from pathlib import Path

from skep.base.files import fingerprint
from skep.base.files.fingerprint import Sources, contents


def digest(folders: Iterable[Path]) -> str:
    return fingerprint.digest(Sources(tuple(folders)).states())


def code(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_equal_content_is_equal_wherever_it_lies_and_whenever_it_was_written(
    tmp_path: Path,
) -> None:
    one = code(tmp_path / "one", a__init="x = 1", b="y")
    other = code(tmp_path / "other", a__init="x = 1", b="y")
    os.utime(other / "b", (1, 1))
    assert digest([one]) == digest([other])


def test_a_change_of_content_or_name_is_another_state(tmp_path: Path) -> None:
    folder = code(tmp_path / "p", a="1", b="2")
    states = {digest([folder])}
    (folder / "a").write_text("3")
    states.add(digest([folder]))
    (folder / "a").rename(folder / "c")
    states.add(digest([folder]))
    (folder / "c").unlink()
    states.add(digest([folder]))
    assert len(states) == 4


def test_names_and_contents_cannot_be_shifted_into_each_other(tmp_path: Path) -> None:
    assert digest([code(tmp_path / "1", ab="c")]) != digest([code(tmp_path / "2", a="bc")])


def test_what_editors_and_the_interpreter_leave_does_not_count(tmp_path: Path) -> None:
    folder = code(tmp_path / "p", a="1")
    before = digest([folder])
    junk = {".a.swp": "", "a~": "", "__pycache__/a.pyc": "", ".git/HEAD": "", "node_modules/x": ""}
    for name in junk:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("junk")
    assert digest([folder]) == before


def test_a_link_to_a_package_is_followed_and_no_other_and_none_round_and_round(
    tmp_path: Path,
) -> None:
    folder = code(tmp_path / "p", a="1")
    package = code(tmp_path / "package", deep__b="1")
    (package / "__init__.py").write_text("1")
    code(tmp_path / "data", huge="1")
    (folder / "package").symlink_to(package)
    (folder / "data").symlink_to(tmp_path / "data")
    (package / "again").symlink_to(package)
    (package / "all").symlink_to(folder)
    names = [str(path.relative_to(folder)) for path in Sources((folder,)).files(folder)]
    assert sorted(names) == [
        "a",
        "package/__init__.py",
        "package/again/__init__.py",
        "package/deep/b",
    ]


def test_nobody_waits_for_what_is_no_file(tmp_path: Path) -> None:
    folder = code(tmp_path / "p", a="1")
    before = digest([folder])
    os.mkfifo(folder / "fifo.py")
    (folder / "nowhere.py").symlink_to(tmp_path / "nowhere")
    assert digest([folder]) == before


def test_a_folder_that_is_not_there_is_an_empty_one(tmp_path: Path) -> None:
    assert digest([tmp_path / "nowhere"]) == digest([])


def test_of_single_files_the_content_counts_and_none_is_empty(tmp_path: Path) -> None:
    one, other, absent = (str(tmp_path / name) for name in ("one", "other", "absent"))
    for path in (one, other):
        Path(path).write_text("same")
    found = contents([one, other, absent])
    assert found[one] == found[other] != ""
    assert found[absent] == ""
