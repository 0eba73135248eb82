"""`platform restart` and `platform check`: the supervisor starts anew and nobody is refused."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from skep.base.errors import NotRunning
from skep.wire import control
from tests.load import Load, Way
from tests.platform_process import Platform
from tests.support import wait_until

VERSIONED = """
import os
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

async def version(request):
    return JSONResponse({"version": os.environ.get("X_VERSION"), "pid": os.getpid()})

plugin = Plugin(routes=[Route("/version", version)])
"""


def test_a_platform_that_restarts_is_running_whoever_asks(sampled: Platform) -> None:
    sampled.start()
    socket, told = sampled.data_dir / "control.sock", list[str]()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                control.call(socket, "ready", timeout=30)
            except NotRunning as error:  # asked before, and cut off by the restart
                told.append(str(error))

    with ThreadPoolExecutor(4) as askers:
        asking = [askers.submit(ask) for _ in range(4)]
        done = sampled.cli("restart")
        over.set()
    assert done.returncode == 0, done.stderr
    assert [one.exception() for one in asking] == [None] * 4
    assert [text for text in told if "ended before it answered" not in text] == []
    sampled.stop()
    assert "No platform is running" in sampled.cli("status").stderr


def test_nobody_is_refused_while_the_supervisor_starts_anew(sampled: Platform) -> None:
    (sampled.plugins / "versioned.py").write_text(VERSIONED)
    path = sampled.directory / "app.sock"
    sampled.start("-x", "1.0", "--listen", "127.0.0.1:0", "--uds", str(path))
    before, inode = sampled.status(), path.stat().st_ino
    assert sampled.get("/version")["version"] == "1.0"
    ways: tuple[Way, ...] = ("fresh", "kept", "thinking")
    with Load(sampled.url, "/version", ways=ways) as load, Load(f"unix:{path}", "/version") as near:
        wait_until(lambda: len(load.answers) > 50 and len(near.answers) > 50)
        done = sampled.cli("restart", "-x", "2.0", "--json")
        assert done.returncode == 0, done.stderr
        counts = len(load.answers), len(near.answers)
        wait_until(lambda: len(load.answers) > counts[0] + 50)
        wait_until(lambda: len(near.answers) > counts[1] + 50)
    # Then every request had an answer, and another supervisor has the same process and sockets
    assert load.failures == near.failures == []
    assert {answer.status for answer in load.answers + near.answers} == {200}
    assert near.answers[-1].body["version"] == "2.0"
    assert path.stat().st_ino == inode
    after = sampled.status()
    assert json.loads(done.stdout)["run_id"] == after["run_id"] != before["run_id"]
    assert (after["pid"], after["listeners"]) == (before["pid"], before["listeners"])
    assert sampled.get("/version")["version"] == "2.0"
    assert [e["what"] for e in json.loads(sampled.cli("history", "--json").stdout)] == [
        "start",
        "restart",
        "start",
    ]
    # Nothing of the one before is left
    assert {name.partition("@")[2] for name in sampled.pids("web")} == {"1"}
    wait_until(lambda: len(sampled.zygotes()) == 2)
    sampled.stop()
    assert not path.exists()


SLOW = """
import asyncio
from pathlib import Path
from skep import Plugin
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def slow(request):
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    return PlainTextResponse("at last")

plugin = Plugin(routes=[Route("/slow", slow)])
"""


def test_a_restart_that_becomes_a_stop_is_told_as_both(platform: Platform) -> None:
    (platform.plugins / "slow.py").write_text(SLOW)
    platform.environment["PLATFORM_DRAIN_TIMEOUT"] = "30"
    platform.start()
    answers: list[str] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{platform.url}/slow", timeout=60).text)
    )
    asking.start()
    wait_until(lambda: 'state="active"} 1' in platform.metrics())
    # When it is told to stop while the one that restarts waits for its last request
    restarting = threading.Thread(target=platform.cli, args=("restart",))
    restarting.start()
    wait_until(lambda: platform.status().get("state") == "stopping")
    assert platform.process is not None
    platform.process.send_signal(signal.SIGTERM)
    (platform.directory / "go").touch()
    assert platform.wait_end() == 0
    asking.join()
    restarting.join()
    # Then it has ended, nothing was lost, and its history says what has become of the restart
    assert answers == ["at last"]
    assert platform.tree() == []
    lines = (platform.data_dir / "operations.jsonl").read_text().splitlines()
    told = [(entry["what"], entry["outcome"]) for entry in map(json.loads, lines)]
    assert told == [("start", "committed"), ("restart", "superseded"), ("stop", "stopped")]


def test_what_would_not_start_is_not_restarted(sampled: Platform) -> None:
    sampled.start()
    pids = sampled.pids()
    assert sampled.cli("check").stdout.startswith("It would start: echo, hello, orders, pulse")
    (sampled.plugins / "broken.py").write_text("import os\n\n\nos.environ['NO_SUCH_KEY']\n")
    # When the new would not come up
    refused = sampled.cli("restart")
    # Then the verb says where and why, and nobody was disturbed
    assert refused.returncode == 1
    assert f"{sampled.plugins / 'broken.py'}:4" in refused.stderr
    assert sampled.pids() == pids
    assert sampled.get()["greeting"] == "Hello from the hive"
    (operation,) = (
        e for e in json.loads(sampled.cli("history", "--json").stdout) if e["what"] == "restart"
    )
    assert operation["outcome"] == "refused"
    assert "NO_SUCH_KEY" in operation["problems"][0]
    # The same without a platform that runs
    sampled.stop()
    checked = sampled.cli("check", "--json")
    assert checked.returncode == 3
    (problem,) = json.loads(checked.stdout)["problems"]
    assert (problem["plugin"], problem["line"]) == ("broken", 4)
    assert "Traceback" in sampled.cli("check").stderr
    assert sampled.cli("check", "--port", "nine").returncode == 2


def test_check_writes_nothing_and_takes_what_was_in_force(platform: Platform) -> None:
    platform.plugins.joinpath("picky.py").write_text(
        "from skep import Plugin, Settings\n"
        "class Picky(Settings, prefix='PICKY_'):\n    name: str\n"
        "plugin = Plugin(settings=[Picky])\n"
    )
    # Before there is any configuration a required setting is missing
    done = platform.cli("check")
    assert done.returncode == 3
    assert "PICKY_NAME" in done.stderr
    assert not platform.data_dir.exists()
    platform.publish_sample("PICKY_NAME = bee\n")
    platform.start()
    platform.stop()
    before = _contents(platform.data_dir)
    assert platform.cli("check").returncode == 0
    assert _contents(platform.data_dir) == before


def _contents(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in directory.rglob("*") if p.is_file()}
