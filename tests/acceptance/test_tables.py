"""Shared tables on a real platform: shared by all processes, kept whatever ends."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import httpx
import lmdb
import pytest

from tests.platform_process import ROOT, Platform
from tests.support import wait_until

PLUGIN = """
import os
from skep import Atomic, Hooks, Plugin, Str, Table, Task, cron
from starlette.responses import JSONResponse
from starlette.routing import Route

class Hits(Table, rows=1000):
    n: int
    seen: float = 0.0

class Facts(Table, rows=10, durable=False):
    said: Str[16]

class Count(Task):
    async def handle(self, ctx):
        Hits.increment("task", "n")

@cron(every="100ms")
def beat(tick):
    Hits.increment("cron", "n")

async def hit(request):
    total = Atomic("hits").add()
    return JSONResponse({"n": Hits.increment("web", "n"), "pid": os.getpid(), "total": total})

async def show(request):
    return JSONResponse({row.key: row.n for row in Hits.rows()} | {"fact": Facts.get("a").said})

async def deliver(request):
    await Count().deliver()
    return JSONResponse({})

def fill(info):
    Hits.increment("start", "n")
    Facts.set("a", said="filled")

plugin = Plugin(
    routes=[Route("/hit", hit), Route("/show", show), Route("/deliver", deliver)],
    tasks=[Count], crons=[beat], tables=[Hits, Facts], hooks=Hooks(server_start=fill),
)
"""


def show(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{platform.url}/show", timeout=10).json()
    return found


def hit(platform: Platform) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{platform.url}/hit", timeout=10).json()
    return found


@pytest.fixture
def counting(platform: Platform) -> Platform:
    (platform.plugins / "counting.py").write_text(PLUGIN)
    return platform.start()


def test_every_kind_of_process_shares_a_table(counting: Platform) -> None:
    """laravels.md §6: shared table. `server_start` has filled it before any worker accepts."""
    assert show(counting)["fact"] == "filled"
    seen = [hit(counting) for _ in range(40)]
    assert [one["n"] for one in seen] == list(range(1, 41))
    assert [one["total"] for one in seen] == list(range(1, 41))
    assert len({one["pid"] for one in seen}) == 2
    httpx.get(f"{counting.url}/deliver")
    wait_until(lambda: show(counting).get("task") == 1)
    wait_until(lambda: show(counting).get("cron", 0) > 1)
    script = (
        "from plugins_counting import Hits\nHits.increment('web', 'n')\n"
        "print(Hits.get('web').n, Hits.get('start').n)"
    )
    (counting.directory / "plugins_counting.py").write_text(
        PLUGIN.replace("class Hits(Table, rows=1000)", 'class Hits(Table, name="counting.Hits")')
    )
    environment = {**counting.environment, "PYTHONPATH": f"{ROOT}/platform:{counting.directory}"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "41 1\n", done.stderr
    assert hit(counting)["n"] == 42
    wait_until(lambda: 'table_rows{table="counting.Facts"} 1' in counting.metrics())
    calls = 'operations_total{op="increment",outcome="success",table="counting.Hits"}'
    wait_until(lambda: calls in counting.metrics())


def test_a_table_survives_reloads_kills_and_restarts(counting: Platform) -> None:
    hit(counting)
    assert counting.cli("reload").returncode == 0
    assert hit(counting)["n"] == 2
    killed = counting.pids("web.")["web.0@2"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: counting.pids("web.").get("web.0@2", killed) != killed)
    assert hit(counting)["n"] == 3
    assert counting.cli("restart").returncode == 0
    wait_until(lambda: show(counting)["start"] == 2)
    assert hit(counting)["n"] == 4
    counting.stop()
    counting.start()
    assert hit(counting)["n"] == 5
    assert show(counting)["start"] == 3
    for pid in counting.tree():
        os.kill(pid, signal.SIGKILL)
    assert counting.process
    counting.process.wait()
    counting.start()
    assert hit(counting)["n"] == 6


def test_a_changed_schema_is_widened_or_begins_empty(counting: Platform) -> None:
    hit(counting)
    wider = PLUGIN.replace("    seen: float = 0.0", "    seen: float = 0.0\n    more: int = 5")
    (counting.plugins / "counting.py").write_text(wider)
    assert counting.cli("reload").returncode == 0
    assert hit(counting)["n"] == 2
    other = PLUGIN.replace("    n: int\n", "    n: float\n")
    (counting.plugins / "counting.py").write_text(other)
    assert counting.cli("reload").returncode == 0
    assert hit(counting)["n"] == 1
    versions = json.loads(counting.cli("table", "ls", "--json").stdout)
    assert [one["name"] for one in versions].count("counting.Hits") == 2
    # And back: the old rows are still there.
    (counting.plugins / "counting.py").write_text(wider)
    assert counting.cli("reload").returncode == 0
    assert hit(counting)["n"] == 3


def test_check_names_the_plugin_the_class_and_the_column(platform: Platform) -> None:
    (platform.plugins / "counting.py").write_text(PLUGIN.replace("Str[16]", "list"))
    done = platform.cli("check")
    assert done.returncode == 3
    assert "plugin counting" in done.stderr
    assert "Facts, has the column said of type list" in done.stderr
    (platform.plugins / "counting.py").write_text(
        PLUGIN.replace("tables=[Hits, Facts]", "tables=[Hits]")
    )
    assert "plugins.counting.Facts is in no Plugin(tables=[…])" in platform.cli("check").stderr
    (platform.plugins / "counting.py").write_text(PLUGIN + "\nHits.get('a')\n")
    assert "No table can be used while plugins are loaded" in platform.cli("check").stderr


@pytest.mark.parametrize("is_running", [True, False])
def test_operators_read_and_change_tables(counting: Platform, is_running: bool) -> None:
    hit(counting)
    if not is_running:
        counting.stop()

    def table(*arguments: str, **options: Any) -> str:
        done = counting.cli("table", *arguments, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = {one["name"]: one for one in json.loads(table("ls", "--json"))}
    assert listed["counting.Hits"]["rows"] == 1000
    assert listed["counting.Facts"]["columns"] == {"said": "str[16]"}
    assert "counting.Hits" in table("ls")
    assert json.loads(table("get", "counting.Hits", "web", "--json"))["n"] == 1
    table("set", "counting.Hits", "web", "n=7", "seen=0.5")
    row = {"key": "web", "n": 7, "seen": 0.5}
    assert json.loads(table("get", "counting.Hits", "web", "--json")) == row
    assert "web" in table("get", "counting.Hits")
    dumped = table("dump", "counting.Facts")
    assert json.loads(dumped) == {"key": "a", "said": "filled"}
    assert "1 rows deleted" in table("clear", "counting.Facts", "--yes")
    (counting.directory / "rows").write_text(dumped)
    assert "1 rows set" in table("load", "counting.Facts", str(counting.directory / "rows"))
    assert json.loads(table("get", "counting.Facts", "a", "--json"))["said"] == "filled"
    for arguments, code, text in (
        (("get", "counting.Hits", "nope"), 1, "has no row 'nope'"),
        (("get", "nope"), 2, "There is no table 'nope'; there are: counting.Facts, counting.Hits"),
        (("set", "counting.Hits", "web", "n=x"), 2, "'n=x' is not JSON"),
        (("set", "counting.Facts", "a", f"said={'x' * 17}"), 2, "said takes 16 characters"),
    ):
        done = counting.cli("table", *arguments)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_a_table_that_no_plugin_declares_any_more_is_marked_and_can_be_dropped(
    counting: Platform,
) -> None:
    def marks() -> dict[str, Any]:
        listed = json.loads(counting.cli("table", "ls", "--json").stdout)
        return {one["name"]: one["declared"] for one in listed}

    hit(counting)
    assert marks() == {"counting.Facts": True, "counting.Hits": True, "skep.atomics": True}
    done = counting.cli("table", "drop", "counting.Facts", "--yes")
    assert done.returncode == 2
    assert "counting.Facts is in use: `platform table clear counting.Facts` empt" in done.stderr
    without = re.sub(r"class Facts.*\n.*\n", "", PLUGIN).replace(
        "tables=[Hits, Facts]", "tables=[Hits]"
    )
    without = without.replace('    Facts.set("a", said="filled")\n', "")
    (counting.plugins / "counting.py").write_text(without)
    assert counting.cli("reload").returncode == 0
    assert marks() == {"counting.Facts": False, "counting.Hits": True, "skep.atomics": True}
    assert re.search(r"counting\.Facts .* in no plugin", counting.cli("table", "ls").stdout)
    asked = counting.cli("table", "drop", "counting.Facts")
    assert asked.returncode == 130
    assert "Remove the table counting.Facts with 1 rows?" in asked.stdout
    assert counting.cli("table", "drop", "counting.Facts", "--yes").returncode == 0
    assert marks() == {"counting.Hits": True, "skep.atomics": True}
    assert hit(counting)["n"] == 2
    counting.stop()
    assert marks() == {"counting.Hits": None, "skep.atomics": True}
    assert counting.cli("table", "drop", "counting.Hits", "--yes").returncode == 0
    assert counting.cli("table", "drop", "skep.atomics", "--yes").returncode == 2
    assert marks() == {"skep.atomics": True}


def test_tables_that_cannot_be_used_refuse_a_start_and_a_rollout_in_a_sentence(
    counting: Platform,
) -> None:
    hit(counting)
    (counting.data_dir / "tables" / "live.mdb-lock").unlink()
    done = counting.cli("reload")
    assert done.returncode == 1
    assert "live.mdb was removed or replaced, and other processes use it: stop" in done.stderr
    assert "Traceback" not in done.stderr
    assert hit(counting)["n"] == 2
    counting.stop()
    before = len(counting.output())
    file = counting.data_dir / "tables" / "live.mdb"
    opened = lmdb.open(str(file), subdir=False, map_size=4 << 30)
    with opened, opened.begin(write=True) as txn:
        txn.put(b"f", b"9")
    (counting.plugins / "counting.py").write_text(PLUGIN)
    counting.start(ready=False)
    assert counting.wait_end() == 3
    said = counting.output()[before:]
    assert "live.mdb was written by another version of skep (format 9, this one reads 1)" in said
    assert "Traceback" not in counting.output()
