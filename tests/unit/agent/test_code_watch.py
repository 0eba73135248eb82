"""Watching real folders: what asks for a rollout, and what does not."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from skep.agent.code_watch import CodeWatch, syntax_errors
from skep.base import fingerprint
from skep.base.telemetry import Telemetry
from skep.wire.messages import Asked
from tests.support import wait_until_async

Test = Callable[[list[Asked]], Awaitable[None]]


def watching(folders: list[Path], test: Test) -> None:
    """Run a test beside a watch; the list holds what the watch has asked for."""
    asked: list[Asked] = []

    async def main() -> None:
        watch = asyncio.create_task(CodeWatch(folders, asked.append, Telemetry()).run())
        try:
            await wait_until_async(lambda: asked)  # what is there at the start is told at once
            await test(asked)
        finally:
            watch.cancel()
            await asyncio.wait({watch})

    asyncio.run(main())


async def told(asked: list[Asked], folder: Path) -> Asked:
    """Wait until the watch has told the state that the folder is in now."""
    await wait_until_async(lambda: asked[-1].code == fingerprint.digest([folder]))
    return asked[-1]


def test_saving_in_place_by_rename_and_by_vim_s_way_are_all_noticed(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("x = 1\n")

    async def test(asked: list[Asked]) -> None:
        file.write_text("x = 2\n")
        await told(asked, tmp_path)
        (tmp_path / ".draft").write_text("x = 3\n")
        os.replace(tmp_path / ".draft", file)
        await told(asked, tmp_path)
        file.rename(tmp_path / "shop.py~")
        file.write_text("x = 4\n")
        await told(asked, tmp_path)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "__init__.py").write_text("y = 1\n")
        assert "new" in (await told(asked, tmp_path)).reason

    watching([tmp_path], test)


def test_what_leaves_the_content_as_it_was_asks_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("x = 1\n")

    async def test(asked: list[Asked]) -> None:
        os.utime(file)
        file.write_text("x = 1\n")
        file.chmod(0o600)
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "shop.pyc").write_text("junk")
        (tmp_path / ".shop.py.swp").write_text("junk")
        # Only what is saved then is told, and it is the first thing that is
        file.write_text("x = 2\n")
        await told(asked, tmp_path)
        assert len(asked) == 2

    watching([tmp_path], test)


def test_a_folder_that_comes_later_or_goes_and_comes_back_is_watched(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"

    async def test(asked: list[Asked]) -> None:
        folder.mkdir()
        (folder / "shop.py").write_text("x = 1\n")
        await told(asked, folder)
        (folder / "shop.py").unlink()
        folder.rmdir()
        await told(asked, folder)
        folder.mkdir()
        (folder / "shop.py").write_text("x = 2\n")
        await told(asked, folder)
        (folder / "shop.py").write_text("x = 3\n")
        await told(asked, folder)

    watching([folder], test)


def test_what_links_lead_to_is_watched_wherever_they_lead(tmp_path: Path) -> None:
    folder, package = tmp_path / "plugins", tmp_path / "package"
    releases = [tmp_path / "1", tmp_path / "2"]
    for number, release in enumerate((*releases, package)):
        release.mkdir()
        (release / "__init__.py").write_text(f"x = {number}\n")
    folder.symlink_to(releases[0])
    for release in releases:
        (release / "linked").symlink_to(package)

    async def test(asked: list[Asked]) -> None:
        (package / "__init__.py").write_text("x = 5\n")
        await told(asked, folder)
        (tmp_path / "new").symlink_to(releases[1])
        os.replace(tmp_path / "new", folder)
        (package / "__init__.py").write_text("x = 6\n")
        await told(asked, releases[1])
        (releases[1] / "__init__.py").write_text("x = 7\n")
        await told(asked, releases[1])

    watching([folder], test)


def test_a_file_name_that_is_no_utf_8_does_not_end_the_watch(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("x = 1\n")

    async def test(asked: list[Asked]) -> None:
        Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe")).write_text("odd")
        await told(asked, tmp_path)
        file.write_text("x = 2\n")
        await told(asked, tmp_path)

    watching([tmp_path], test)


def test_syntax_errors_are_told_with_file_and_line_and_nothing_is_executed(
    tmp_path: Path,
) -> None:
    (tmp_path / "good.py").write_text("raise SystemExit('executed')\n")
    (tmp_path / "shop").mkdir()
    broken = tmp_path / "shop" / "parts.py"
    broken.write_text("x = 1\ndef f(:\n")
    (tmp_path / "null.py").write_bytes(b"x = 1\x00\n")
    problems = {problem.plugin: problem for problem in syntax_errors([tmp_path])}
    assert problems.keys() == {"shop", "null"}
    assert (problems["shop"].file, problems["shop"].line) == (str(broken), 2)


def test_what_is_asked_carries_the_problems(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("x = 1\n")

    async def test(asked: list[Asked]) -> None:
        file.write_text("x = = 1\n")
        assert [p.line for p in (await told(asked, tmp_path)).problems] == [1]
        file.write_text("x = 3\n")
        assert (await told(asked, tmp_path)).problems == []

    watching([tmp_path], test)
