"""The hooks of a plugin are told what happens, each in its own kind of process."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.platform_process import Platform
from tests.support import wait_until

WITNESS = """
import dataclasses, json, os
from pathlib import Path
from skep import Hooks, Plugin, ReloadInfo, ServerInfo, Task, WorkerInfo

FILE = Path(os.environ["PLATFORM_DATA_DIR"]) / "told.txt"

def note(hook, info):
    with FILE.open("a") as file:
        row = {"hook": hook, "by": os.getpid(), **dataclasses.asdict(info)}
        file.write(json.dumps(row) + "\\n")

class Alert(Task):
    slot: str

    async def handle(self, ctx):
        with FILE.open("a") as file:
            file.write(json.dumps({"hook": "alert", "slot": self.slot}) + "\\n")

async def worker_error(info: WorkerInfo) -> None:
    note("worker_error", info)
    await Alert(slot=info.slot).deliver()

def server_start(info: ServerInfo) -> None:
    note("server_start", info)
    raise RuntimeError("a hook that fails")

def after_reload(info: ReloadInfo) -> None:
    note("after_reload", info)

plugin = Plugin(
    tasks=[Alert],
    hooks=Hooks(
        server_start=server_start,
        server_stop=lambda info: note("server_stop", info),
        before_reload=lambda info: note("before_reload", info),
        after_reload=after_reload,
        worker_start=lambda info: note("worker_start", info),
        worker_stop=lambda info: note("worker_stop", info),
        worker_exit=lambda info: note("worker_exit", info),
        worker_error=worker_error,
    ),
)
"""


@pytest.fixture
def witness(platform: Platform) -> Platform:
    (platform.plugins / "witness.py").write_text(WITNESS)
    return platform.start()


def told(platform: Platform, hook: str) -> list[dict[str, Any]]:
    file = Path(platform.data_dir) / "told.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [row for row in map(json.loads, lines) if row["hook"] == hook]


def test_the_hooks_are_told_of_starts_reloads_ends_and_the_stop(witness: Platform) -> None:
    assert witness.process is not None
    server = witness.process.pid
    started = wait_until(lambda: told(witness, "server_start"))
    assert (started[0]["pid"], started[0]["generation"]) == (server, 1)
    wait_until(lambda: "a hook that fails" in witness.output())
    # In the worker itself
    pids = witness.pids()
    workers = {pids[name] for name in ("web.0@1", "web.1@1", "task.0@1")}
    wait_until(lambda: {r["by"] for r in told(witness, "worker_start")} == workers)
    # A worker that is killed; from its hook a task can be delivered
    os.kill(pids["web.0@1"], signal.SIGKILL)
    error = wait_until(lambda: told(witness, "worker_error"))[0]
    assert (error["slot"], error["pid"], error["signal"]) == ("web.0", pids["web.0@1"], "SIGKILL")
    assert error["exit_code"] is None
    assert error["by"] not in {server, *pids.values()}
    wait_until(lambda: told(witness, "alert") == [{"hook": "alert", "slot": "web.0"}])
    # A reload: nobody waits for the hooks, and what ended then is no error
    wait_until(lambda: "web.0@1" in witness.pids())
    assert witness.cli("reload").returncode == 0
    before = wait_until(lambda: told(witness, "before_reload"))[0]
    after = wait_until(lambda: told(witness, "after_reload"))[0]
    assert (before["generation"], before["outcome"]) == (2, "")
    assert (after["generation"], after["outcome"], after["cause"]) == (2, "committed", "cli")
    wait_until(lambda: len(told(witness, "worker_exit")) == 4)
    assert [r["exit_code"] for r in told(witness, "worker_exit")[1:]] == [0, 0, 0]
    # The end: the last to be told, before the store is gone
    assert witness.cli("stop").returncode == 0
    assert witness.wait_end() == 0
    assert len(told(witness, "server_stop")) == 1
    assert len(told(witness, "worker_stop")) == 6
    assert len(told(witness, "worker_error")) == 1
    assert witness.tree() == []
