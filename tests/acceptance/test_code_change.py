"""With --watch, saving a plugin is a rollout; saving nonsense costs nothing."""

import os
from pathlib import Path

import httpx
import pytest

from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until


def hello(platform: Platform) -> Path:
    return platform.plugins / "hello" / "__init__.py"


def edit(path: Path, old: str, new: str) -> None:
    """Save as good editors do: a new file in the place of the old one."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(path.read_text().replace(old, new))
    os.replace(draft, path)


def test_saving_a_plugin_rolls_it_out_once_without_a_failed_request(sampled: Platform) -> None:
    sampled.start("--watch")
    with Load(sampled.url) as load:
        edit(hello(sampled), '"greeting":', '"said":')
        wait_until(lambda: sampled.status()["generation"] == 2)
        wait_until(lambda: load.answers[-1].body.get("said") == "Hello from the hive")
    assert load.failures == []
    assert sampled.status()["generation"] == 2
    assert sampled.status()["last_rollout"]["cause"] == "code"
    assert "hello/__init__.py" in sampled.status()["last_rollout"]["reason"]


def test_a_syntax_error_leaves_the_old_code_serving_and_names_file_and_line(
    sampled: Platform,
) -> None:
    """Lifecycle, case 25."""
    sampled.start("--watch")
    pids = sampled.pids()
    with Load(sampled.url) as load:
        edit(hello(sampled), "worker = Worker.current()", "worker = = Worker.current()")
        refused = wait_until(lambda: sampled.status()["refused"])
        problem = refused["problems"][0]
        lines = hello(sampled).read_text().splitlines()
        assert Path(problem["file"]) == hello(sampled)
        assert lines[problem["line"] - 1].strip() == "worker = = Worker.current()"
        assert sampled.pids() == pids
        assert sampled.get()["greeting"] == "Hello from the hive"
        # The text for people says the same
        assert f"{hello(sampled)}:{problem['line']}" in sampled.cli("status").stdout
        # Mending it recovers without anybody's help
        edit(hello(sampled), "worker = = Worker", "worker = Worker")
        edit(hello(sampled), '"greeting":', '"said":')
        wait_until(lambda: sampled.status()["generation"] >= 2)
        wait_until(lambda: load.answers[-1].body.get("said"))
    assert load.failures == []
    wait_until(lambda: sampled.status()["refused"] is None)


def test_undoing_a_broken_save_needs_no_rollout(sampled: Platform) -> None:
    sampled.start("--watch")
    edit(hello(sampled), "worker = Worker", "worker = = Worker")
    wait_until(lambda: sampled.status()["refused"])
    edit(hello(sampled), "worker = = Worker", "worker = Worker")
    wait_until(lambda: sampled.status()["refused"] is None)
    assert sampled.status()["generation"] == 1


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
        ("raise RuntimeError('not today')\n", "not today"),
        ("plugin = 3\n", "plugin = Plugin(...)"),
        (
            "import contextlib\nfrom skep import Plugin\n\n\n@contextlib.asynccontextmanager\n"
            "async def life():\n    raise OSError('no database')\n    yield\n\n\n"
            "plugin = Plugin(lifespan=life)\n",
            "no database",
        ),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
    ],
    ids=["import", "raise", "undeclared", "lifespan", "exit"],
)
def test_code_that_does_not_come_up_is_refused_with_its_reason(
    shared_sampled: Platform, broken: str, says: str
) -> None:
    """Lifecycle, cases 20 and 21."""
    pids = shared_sampled.pids()
    (shared_sampled.plugins / "extra.py").write_text(broken)
    done = shared_sampled.cli("reload")
    assert done.returncode == 1
    assert says in done.stderr
    assert "refused" in done.stderr
    # What was forked of the new generation may still be on its way out
    wait_until(lambda: shared_sampled.pids() == pids)
    # A worker that is killed now comes back with the code that serves, not with that on the disk
    os.kill(pids["web.0@1"], 9)
    wait_until(lambda: shared_sampled.pids().get("web.0@1") not in (None, pids["web.0@1"]))
    wait_until(lambda: httpx.get(f"{shared_sampled.admin}/readyz").status_code == 200)
    assert shared_sampled.get()["greeting"] == "Hello from the hive"


def test_touching_a_file_or_saving_the_same_text_rolls_out_nothing(sampled: Platform) -> None:
    sampled.start("--watch")
    os.utime(hello(sampled))
    hello(sampled).write_text(hello(sampled).read_text())
    (sampled.plugins / "hello" / "notes.swp").write_text("an editor's own")
    # What is saved for real afterwards is the first rollout
    edit(hello(sampled), '"greeting":', '"said":')
    wait_until(lambda: sampled.get().get("said"))
    wait_until(lambda: sampled.status()["generation"] >= 2)
    assert sampled.status()["generation"] == 2


def test_two_saves_of_one_size_within_a_second_are_two_states_of_the_code(
    sampled: Platform,
) -> None:
    sampled.start()
    for word in ("aaaa", "bbbb", "cccc"):
        text = hello(sampled).read_text()
        now = hello(sampled).stat().st_mtime
        hello(sampled).write_text(text.replace('"worker":', f'"{word}": 1, "worker":'))
        os.utime(hello(sampled), (now, now))
        assert sampled.cli("reload").returncode == 0
        wait_until(lambda: word in sampled.get())  # noqa: B023
        hello(sampled).write_text(text)


UNTIDY = """
import os, shop
from contextlib import asynccontextmanager
from pathlib import Path
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

here = Path(__file__).parent
(here / "made.py").write_text(f"made_by = {os.getpid()}\\n")

@asynccontextmanager
async def life():
    (here / "born.txt").write_text(str(os.getpid()))
    yield

async def show(request):
    with (here / "hits.log").open("a") as file:
        file.write("hit\\n")
    (here / ".count").write_text(str(os.getpid()))
    os.replace(here / ".count", here / "count.json")
    from . import made
    return JSONResponse({"price": shop.PRICE, "made_by": made.made_by})

plugin = Plugin(routes=[Route("/", show)], lifespan=life)
"""


def test_what_a_generation_writes_itself_rolls_out_nothing_and_the_project_is_watched(
    platform: Platform,
) -> None:
    """B13: a plugin that writes files beside itself does not roll itself out; the project folder
    is importable and watched."""
    (platform.plugins / "untidy").mkdir()
    (platform.plugins / "untidy" / "__init__.py").write_text(UNTIDY)
    shop = platform.directory / "shop.py"
    shop.write_text("PRICE = 1\n")
    platform.start("--watch")
    for _ in range(20):
        assert platform.get()["price"] == 1
    # Two saves of one size, the second at once when the first is there
    for price in (2, 3):
        shop.write_text(f"PRICE = {price}\n")
        wait_until(lambda: platform.get()["price"] == price)  # noqa: B023
    wait_until(lambda: not platform.status()["coming"])
    status = platform.status()
    assert status["generation"] == 3
    assert status["last_rollout"]["reason"] == "shop.py"
    wait_until(lambda: "count.json is written by the platform's own workers" in platform.output())
    assert platform.status()["generation"] == status["generation"]
