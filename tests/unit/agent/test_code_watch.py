"""Watching real folders: what asks for a rollout, and what does not."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skep.agent.code_watch import CodeWatch, syntax_errors
from skep.base.files import fingerprint, own_writes
from skep.base.files.fingerprint import Sources
from skep.base.telemetry import Telemetry
from skep.wire.messages import RolloutAsked
from tests.support import wait_until_async

Test = Callable[[list[RolloutAsked]], Awaitable[None]]


NOWHERE = Path("/nonexistent/own-writes")


def watching(folders: list[Path], test: Test, noted: Path = NOWHERE, **more: Any) -> None:
    """Run a test beside a watch; the list holds what the watch has asked for."""
    asked: list[RolloutAsked] = []
    sources = Sources(tuple(folders), **more)

    async def main() -> None:
        watch = asyncio.create_task(
            CodeWatch(sources, folders, noted, asked.append, Telemetry()).run()
        )
        try:
            await wait_until_async(lambda: asked)  # what is there at the start is told at once
            await test(asked)
        finally:
            watch.cancel()
            await asyncio.wait({watch})

    asyncio.run(main())


def state_of(folder: Path) -> str:
    return fingerprint.digest(Sources((folder,)).states())


async def told(asked: list[RolloutAsked], folder: Path) -> RolloutAsked:
    """Wait until the watch has told the state that the folder is in now."""
    await wait_until_async(lambda: asked[-1].code == state_of(folder))
    return asked[-1]


def test_saving_in_place_by_rename_and_by_vim_s_way_are_all_noticed(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("x = 1\n")

    async def test(asked: list[RolloutAsked]) -> None:
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

    async def test(asked: list[RolloutAsked]) -> None:
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

    async def test(asked: list[RolloutAsked]) -> None:
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

    async def test(asked: list[RolloutAsked]) -> None:
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

    async def test(asked: list[RolloutAsked]) -> None:
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

    async def test(asked: list[RolloutAsked]) -> None:
        file.write_text("x = = 1\n")
        assert [p.line for p in (await told(asked, tmp_path)).problems] == [1]
        file.write_text("x = 3\n")
        assert (await told(asked, tmp_path)).problems == []

    watching([tmp_path], test)


def test_what_the_workers_write_themselves_asks_for_nothing_also_together_with_an_edit(
    tmp_path: Path,
) -> None:
    """B13: what a generation wrote itself does not count, however often it is written."""
    folder, noted = tmp_path / "plugins", tmp_path / "data" / "own-writes"
    folder.mkdir()
    noted.parent.mkdir()
    file, cache, made = folder / "shop.py", folder / "cache.json", folder / "made.py"
    file.write_text("x = 1\n")
    cache.write_text("0")
    writer = f"""
import os, sys
from pathlib import Path
from skep.base.files import own_writes
own_writes.note([Path({str(folder)!r})], Path({str(noted)!r}))
for number in range(3):
    Path({str(folder)!r}, "cache.json").write_text(str(number))
Path({str(folder)!r}, ".made").write_text("y = 1")
os.replace({str(folder / ".made")!r}, {str(made)!r})
open({str(file)!r}).close()
os.close(os.open({str(file)!r}, os.O_RDONLY))
os.fdopen(os.dup(1), "w").close()
"""

    async def test(asked: list[RolloutAsked]) -> None:
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", writer], check=True)
        written = own_writes.read(noted)
        assert {str(cache), str(made)} <= written
        assert str(file) not in written
        file.write_text("x = 2\n")
        await wait_until_async(lambda: len(asked) == 2)
        alone = fingerprint.digest(Sources((folder,)).states(), without=written)
        assert asked[-1].code == alone
        assert asked[-1].reason == "shop.py"

    watching([folder], test, noted)


def test_the_project_is_watched_for_python_and_what_is_excluded_is_not(tmp_path: Path) -> None:
    """B13: the project's Python files are watched, PATHS, EXCLUDE and TYPES say more exactly."""
    plugins, other = tmp_path / "plugins", tmp_path / "other"
    for folder in (plugins, other, tmp_path / "shop", tmp_path / "data", tmp_path / "env"):
        folder.mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()

    def state(path: str, **more: Any) -> str:
        """Return the state after a file was written."""
        (tmp_path / path).write_text("1")
        terms = {"project": tmp_path, "exclude": ("data", "shop/gen*", "*.bak.py"), **more}
        return fingerprint.digest(Sources((plugins, other), **terms).states())

    before = state("plugins/a.py")
    for path in ("plugins/a.txt", "other/b.txt", "shop/c.py"):
        now = state(path)
        assert now != before, path
        before = now
    for path in ("shop/c.txt", "data/d.py", "env/e.py", "shop/gen_f.py", "plugins/g.bak.py"):
        assert state(path) == before, path
    sources = Sources((plugins, other), project=tmp_path)
    may = {
        name: sources.may_be_code(str(tmp_path / name))
        for name in (
            "plugins/a.txt",
            "shop/c.py",
            "shop",
            "platform.log",
            ".env",
            "shop/c.py~",
        )
    }
    assert [name for name, is_code in may.items() if is_code] == [
        "plugins/a.txt",
        "shop/c.py",
        "shop",
    ]
    typed = state("plugins/a.py", types=(".py", ".html"))
    assert state("plugins/h.txt", types=(".py", ".html")) == typed
    assert state("shop/i.html", types=(".py", ".html")) != typed


def test_a_package_that_comes_into_the_project_is_watched(tmp_path: Path) -> None:
    """B13: a new directory is watched, whatever comes into it afterwards."""
    folder = tmp_path / "plugins"
    folder.mkdir()

    async def test(asked: list[RolloutAsked]) -> None:
        package = tmp_path / "shop" / "prices"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("x = 1\n")
        await wait_until_async(lambda: len(asked) == 2)
        (package / "later.py").write_text("x = 2\n")
        await wait_until_async(lambda: len(asked) == 3)
        assert asked[-1].reason

    watching([folder], test, project=tmp_path)


@pytest.mark.parametrize(("wish", "backend"), [("", "inotify"), ("1", "polling")])
def test_how_changes_are_noticed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str, backend: str
) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", wish)
    used: dict[str, int] = {}
    telemetry = Telemetry()
    telemetry.subscribe("watch.backend", lambda f: used.update({f["backend"]: f["used"]}))

    async def main() -> None:
        sources = Sources((tmp_path,))
        watch = CodeWatch(sources, [tmp_path], NOWHERE, lambda _: None, telemetry)
        watching = asyncio.create_task(watch.run())
        await wait_until_async(lambda: len(used) == 2)
        watching.cancel()
        await asyncio.wait({watching})

    asyncio.run(main())
    assert used == {"inotify": 0, "polling": 0, backend: 1}
