"""`platform start -d`: it returns when it serves, and its log file can be rotated."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_process import COMMAND, Platform
from tests.support import wait_until

TALKATIVE = """
import logging
import sys
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

log = logging.getLogger("talkative")

async def talk(request):
    log.info("agent %s", request.headers["user-agent"])
    print("printed", request.url.path)
    return JSONResponse({})

plugin = Plugin(routes=[Route("/talk", talk)])
"""
PORTS = ("--port", "0", "--admin-port", "0")


@pytest.fixture
def on_its_own(sampled: Platform) -> Any:
    """A platform that can be started with -d; whatever happens it is not left behind."""
    sampled.environment["PLATFORM_LOG_FORMAT"] = "json"
    yield sampled
    sampled.kill_tree()


def entries(path: Path) -> list[dict[str, Any]]:
    """The lines of a log file; each has to be one JSON object."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_every_line_is_one_of_ours_and_usr1_opens_the_file_anew(
    on_its_own: Platform,
) -> None:
    """Lifecycle, case 46."""
    platform = on_its_own
    (platform.plugins / "talkative.py").write_text(TALKATIVE)
    # When it is started on its own, the verb comes back and it serves
    done = platform.cli("start", "-d", *PORTS)
    assert done.returncode == 0, done.stderr
    log, status = platform.data_dir / "platform.log", platform.status()
    assert str(log) in done.stdout
    assert f"pid {status['pid']}" in done.stdout
    assert status["state"] == "running"
    assert log.stat().st_mode & 0o777 == 0o600
    url = f"{status['listeners']['http']}/talk"
    evil = '"\\n{"level": "error", "message": "forged"}'
    assert httpx.get(url, headers={"user-agent": evil}).status_code == 200
    wait_until(lambda: any("forged" in e["message"] for e in entries(log)))
    for entry in entries(log):
        assert entry.keys() >= {"ts", "level", "role", "slot", "pid", "generation", "message"}
        assert entry["message"] != "forged"
    (printed,) = wait_until(lambda: [e for e in entries(log) if e["logger"] == "print"])
    assert (printed["message"], printed["role"]) == ("printed /talk", "web")
    # When the file is moved away, all go on in the new one
    old = log.with_suffix(".1")
    log.rename(old)
    os.kill(status["pid"], signal.SIGUSR1)
    wait_until(lambda: log.exists())

    def printed_anew() -> bool:
        httpx.get(url)
        return any(e["logger"] == "print" and e["generation"] == 1 for e in entries(log))

    # A worker goes on to the new file when it comes to the signal
    wait_until(printed_anew)
    size = old.stat().st_size
    httpx.get(url)
    os.kill(status["pid"], signal.SIGHUP)
    wait_until(lambda: any(e["role"] == "supervisor" for e in entries(log)))
    assert old.stat().st_size == size
    # A second start says that it runs, and is content with that if it is told to be
    assert platform.cli("start", "-d", *PORTS).returncode == 6
    content = platform.cli("start", "-di", *PORTS)
    assert (content.returncode, str(status["pid"]) in content.stdout) == (0, True)
    assert platform.cli("stop").returncode == 0
    assert platform.tree() == []


def test_a_start_that_cannot_be_ends_with_its_exit_code_and_its_reason(
    on_its_own: Platform,
) -> None:
    broken = on_its_own.plugins / "broken.py"
    broken.write_text("1 / 0\n")
    log = on_its_own.directory / "logs" / "mine.log"
    done = on_its_own.cli("start", "-d", "--log-file", str(log), *PORTS)
    assert done.returncode == 3
    assert f"{broken}:1" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "ZeroDivisionError" in log.read_text()
    assert on_its_own.tree() == []
    usage = on_its_own.cli("start", "-d", "--port", "70000")
    assert usage.returncode == 2
    assert "PLATFORM_PORT" in usage.stderr


def test_a_start_that_a_signal_interrupts_leaves_nothing_behind(on_its_own: Platform) -> None:
    """B6: INT and TERM were blocked in `start -d`, so a start that took long could not be ended."""
    (on_its_own.plugins / "slow.py").write_text("import time\ntime.sleep(600)\n")
    on_its_own.run([*COMMAND, "start", "-d", *PORTS])
    assert on_its_own.process is not None
    wait_until(on_its_own.zygotes)
    on_its_own.process.send_signal(signal.SIGINT)
    assert on_its_own.wait_end() == 130
    wait_until(lambda: on_its_own.tree() == [])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_start_without_standard_streams_serves_and_nothing_else_is_taken_for_one(
    on_its_own: Platform, closed: str
) -> None:
    platform = on_its_own
    platform.run(["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, "start", *PORTS])
    platform.wait_ready()
    known = {"/dev/null", str(platform.log)}
    for pid in {*platform.tree()} - platform.programs():
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} <= known
    assert platform.cli("reload").returncode == 0
    assert platform.cli("stop").returncode == 0
    assert platform.wait_end() == 0
    assert "Assertion" not in platform.output()
