"""What an operator may ask and say while the platform runs: verbs, their JSON and exit codes."""

import json
import os
import signal
import subprocess
from typing import Any

import httpx
import pytest

from tests.acceptance.shapes import OPERATION, PROCESS, STATUS, fits
from tests.packages import require
from tests.platform_process import COMMAND, Platform
from tests.support import wait_until

BUSY = """
import logging
import time
from pathlib import Path
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

def stuck_in_the_plugin():
    Path("stuck").touch()
    time.sleep(60)

async def hang(request):
    stuck_in_the_plugin()

async def note(request):
    logging.getLogger("busy").debug("a fine point")
    return JSONResponse({})

plugin = Plugin(routes=[Route("/hang", hang), Route("/note", note)])
"""


def asked(platform: Platform, *arguments: str) -> Any:
    done = platform.cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def title(pid: int) -> str:
    shown = subprocess.run(
        [require("ps"), "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return shown.stdout


def hang(platform: Platform) -> None:
    """Have a worker stuck in a request that nobody waits for."""
    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"{platform.url}/hang", timeout=0.3)
    wait_until((platform.directory / "stuck").exists)


def test_what_is_asked_is_answered_for_people_and_for_programs(sampled: Platform) -> None:
    """Lifecycle, case 41."""
    (sampled.plugins / "busy.py").write_text(BUSY)
    sampled.start()
    fits(asked(sampled, "status"), STATUS)

    # ps: every process once, under the name it has in ps(1); one stands by when all has been begun
    def processes() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = asked(sampled, "ps")
        alike = {row["pid"] for row in rows} == {*sampled.tree()} - sampled.programs()
        return rows if alike and "standing by" in {row["state"] for row in rows} else []

    rows = wait_until(processes)
    fits(rows, [PROCESS])
    for row in rows:
        name = f"platform: {row['name']} sample"
        wait_until(lambda row=row, name=name: title(row["pid"]).startswith(name))  # type: ignore[misc]
    # info
    info = asked(sampled, "info")
    assert info["components"].keys() >= {"skep", "uvicorn", "starlette"}
    assert info["running"]["kinds"] == {"web": 2, "task": 1, "cron": 1, "process": 2}
    assert "GET /hang" in info["running"]["plan"]["routes"]
    # For people the same, as text that no terminal is needed for
    for verb, words in (
        ("ps", ("web.0@1", "standing by", "MiB")),
        ("info", ("uvicorn", "HTTP, WebSocket", sampled.url, "orders.SendReceipt")),
        ("history", ("start", "committed", "planning")),
        ("status", ("running", sampled.url)),
    ):
        shown = sampled.cli(verb).stdout
        assert not [word for word in words if word not in shown], shown
        assert "\x1b" not in shown
    # history: who asked, how it went; a reload that nobody waits for is there as well
    assert "history" in sampled.cli("reload", "--no-wait").stdout
    wait_until(lambda: sampled.status()["generation"] == 2)
    (sampled.plugins / "broken.py").write_text("1 / 0\n")
    assert sampled.cli("reload").returncode == 1
    (sampled.plugins / "broken.py").unlink()
    entries = asked(sampled, "history")
    fits(entries, [OPERATION])
    assert [(e["what"], e["outcome"]) for e in entries] == [
        ("start", "committed"),
        ("reload", "committed"),
        ("reload", "refused"),
    ]
    assert f"uid {os.getuid()}" in entries[1]["requester"]
    assert "broken.py:1" in entries[2]["problems"][0]
    assert [phase["name"] for phase in entries[1]["phases"]][:2] == ["planning", "preparing"]


def test_a_worker_that_hangs_shows_where_and_the_log_level_changes_at_once(
    sampled: Platform,
) -> None:
    (sampled.plugins / "busy.py").write_text(BUSY)
    sampled.environment["PLATFORM_WEB_WORKERS"] = "1"
    sampled.start()
    pids = sampled.pids()
    sampled.get("/note")
    assert "a fine point" not in sampled.output()
    assert " processes log at level debug." in sampled.cli("log-level", "debug").stdout
    wait_until(lambda: "a fine point" in (sampled.get("/note") or sampled.output()))
    assert sampled.cli("log-level", "loud").returncode == 2
    assert "Traceback" not in sampled.output()
    # A worker that is stuck shows its stack and is none the worse for it
    hang(sampled)
    dumped = sampled.cli("dump", "web.0")
    assert "in stuck_in_the_plugin" in dumped.stdout
    assert f"(pid {pids['web.0@1']})" in dumped.stdout
    assert "uvicorn" not in sampled.cli("dump", "store.0").stdout
    unknown = sampled.cli("dump", "web.7")
    assert unknown.returncode == 1
    assert "web.0@1" in unknown.stderr
    assert sampled.pids() == pids
    sampled.kill(pids["web.0@1"])


def test_a_stop_that_takes_too_long_is_exit_5_and_goes_on(sampled: Platform) -> None:
    """Lifecycle, case 35."""
    (sampled.plugins / "busy.py").write_text(BUSY)
    sampled.environment |= {"PLATFORM_WEB_WORKERS": "1", "PLATFORM_DRAIN_TIMEOUT": "60"}
    sampled.start()
    assert sampled.process is not None
    hang(sampled)
    late = sampled.cli("stop", "--timeout", "0.5")
    assert late.returncode == 5
    assert f"pid {sampled.process.pid} has not ended within 0.5 s" in late.stderr
    assert sampled.status()["state"] == "stopping"
    sampled.process.send_signal(signal.SIGINT)
    assert sampled.wait_end() == 0
    assert sampled.tree() == []


def test_verbs_that_need_a_platform_are_exit_3_without_one(platform: Platform) -> None:
    verbs = ("stop", "restart", "reload", "status", "ps", "history", "drain", "undrain")
    for verb in [*((name,) for name in verbs), ("scale", "web=2"), ("dump", "web.0")]:
        done = platform.cli(*verb)
        assert (done.returncode, str(platform.data_dir) in done.stderr) == (3, True), verb
    informed = platform.cli("info", "--json")
    assert informed.returncode == 3
    assert json.loads(informed.stdout)["running"] is None


@pytest.mark.parametrize("count", ["web", "web=", "web=-1", "web=many", "=3"])
def test_what_is_no_count_of_workers_is_exit_2(platform: Platform, count: str) -> None:
    done = platform.cli("scale", "task=1", count)
    assert done.returncode == 2
    assert count in done.stderr


def test_neither_a_stale_pid_file_nor_a_reused_process_id_fools_a_verb(sampled: Platform) -> None:
    # Given a platform that was killed, and whose process id another process has by now
    sampled.start()
    assert sampled.process is not None
    sampled.process.send_signal(signal.SIGKILL)
    sampled.wait_end()
    wait_until(lambda: not sampled.tree())
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (sampled.data_dir / "supervisor.pid").write_text(f"{stranger.pid}\n")
        # Then no verb takes the one for the other
        for verb in ("status", "stop", "reload", "ps"):
            assert sampled.cli(verb).returncode == 3
        sampled.start()
        assert sampled.status()["pid"] != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_long_wait_shows_on_a_terminal_what_is_being_waited_for(sampled: Platform) -> None:
    (sampled.plugins / "slow.py").write_text(
        "import time\nfrom skep import Plugin\ntime.sleep(1)\nplugin = Plugin()\n"
    )
    sampled.start()
    command = " ".join([*COMMAND, "reload"])
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        cwd=sampled.directory,
        env=sampled.environment | {"TERM": "xterm", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "generation 2: loading the plugins" in done.stdout
    assert "Generation 2 is in service" in done.stdout
