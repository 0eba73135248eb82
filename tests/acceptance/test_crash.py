"""Workers that crash, hang and leave processes behind."""

import itertools
import os
import signal
import socket
import threading
from typing import Any

import httpx
import pytest

from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until

WILD = """
import asyncio, ctypes, os, subprocess, sys, time
from contextlib import asynccontextmanager
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

@asynccontextmanager
async def life():
    if os.path.exists("crash"):
        asyncio.get_running_loop().call_later(0.1, os._exit, 9)
    yield

async def show(request):
    return JSONResponse({"pid": os.getpid()})

async def sleep(request):
    a_place_to_be_found()

def a_place_to_be_found():
    time.sleep(300)

async def hold_the_gil(request):
    # PyDLL keeps the lock while it is in C
    ctypes.PyDLL(None).usleep(1_500_000)
    ctypes.PyDLL(None).usleep(1_500_000)
    return JSONResponse({"pid": os.getpid()})

async def start(request):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    return JSONResponse({"pid": os.getpid(), "child": child.pid})

async def stray(request):
    script = "sleep 300 >/dev/null 2>&1 & echo $!"
    pid = subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout
    return JSONResponse({"pid": os.getpid(), "child": int(pid)})

async def slow(request):
    await asyncio.sleep(float(request.query_params["seconds"]))
    return JSONResponse({"pid": os.getpid()})

plugin = Plugin(
    routes=[
        Route("/", show), Route("/sleep", sleep), Route("/gil", hold_the_gil),
        Route("/start", start), Route("/stray", stray), Route("/slow", slow),
    ],
    lifespan=life,
)
"""


@pytest.fixture
def wild(platform: Platform) -> Platform:
    (platform.plugins / "wild.py").write_text(WILD)
    return platform


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_blocked_loop_is_told_by_its_stacks_and_replaced_and_a_busy_one_is_not(
    wild: Platform,
) -> None:
    """Lifecycle, case 28."""
    wild.environment["PLATFORM_HANG_TIMEOUT"] = "5"
    wild.start()
    # One that computes for shorter than that is left alone
    pids = wild.pids("web.")
    busy = httpx.get(f"{wild.url}/gil", timeout=30).json()["pid"]
    assert wild.pids("web.") == pids
    assert busy in pids.values()
    host, port = wild.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /sleep HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_until(lambda: wild.pids("web.") != pids)
        gone = set(pids.values()) - set(wild.pids("web.").values())
        assert len(gone) == 1
        wait_until(lambda: len(wild.pids("web.")) == 2)
    wait_until(lambda: "a_place_to_be_found" in wild.output())
    assert "does not answer: abort" in wild.output()
    assert "killed by SIGABRT" in wild.output()
    counted = 'platform_worker_exits_total{pool="web",reason="hang"} 1'
    wait_until(lambda: counted in wild.metrics())
    # The other one has noticed nothing
    assert wild.get()["pid"] in set(pids.values()) | set(wild.pids("web.").values())


def test_of_workers_that_crash_right_after_they_are_ready_one_is_always_tried(
    wild: Platform,
) -> None:
    """Lifecycle, case 27."""
    wild.environment |= {"PLATFORM_PROBATION": "0", "PLATFORM_GIVE_UP": "12"}
    wild.start()
    (wild.directory / "crash").write_text("")
    for pid in wild.pids("web.").values():
        wild.kill(pid)

    def backing_off() -> dict[str, Any]:
        status = wild.status()
        reasons = [r for r in status["reasons"] if r.startswith("web in backoff")]
        return {**status, "reasons": reasons} if reasons else {}

    status = wait_until(backing_off)
    assert "exited with 9" in status["reasons"][0]
    assert status["state"] == "degraded"
    # Between two crashes one may be ready for a moment
    wait_until(lambda: httpx.get(f"{wild.admin}/readyz").status_code == 503)
    # When nothing comes of it, somebody else has to decide
    assert wild.wait_end(deadline=40) == 7
    output = wild.output()
    assert "giving up, exit code 7" in output
    # The others wait longer and longer; one is tried twice a second at most
    assert output.count("exited with 9") <= 40
    assert "killed by SIGKILL, from outside" in output
    assert wild.tree() == []


def test_what_a_worker_has_started_ends_after_it(wild: Platform) -> None:
    """Lifecycle, case 32."""
    wild.start()
    assert wild.process is not None
    started = wild.get("/start")
    # Of the other worker: what this one has started ends with it
    strays = (wild.get("/stray") for _ in itertools.count())
    stranger = next(x["child"] for x in strays if x["pid"] != started["pid"])
    wild.kill(started["pid"])
    wait_until(lambda: not alive(started["child"]))
    wait_until(lambda: len(wild.pids("web.")) == 2)
    # What is orphaned to the supervisor was reaped, and is no worker to anybody
    os.kill(stranger, signal.SIGKILL)
    wait_until(lambda: not alive(stranger))
    assert f"(pid {stranger})" not in wild.output()
    assert f"(pid {started['child']})" not in wild.output()


def test_a_request_that_does_not_end_is_cut_at_the_deadline_and_the_exit_is_clean(
    wild: Platform,
) -> None:
    """Lifecycle, case 35."""
    wild.environment |= {"PLATFORM_DRAIN_TIMEOUT": "2", "PLATFORM_STOP_DELAY": "6"}
    wild.start()
    assert wild.process is not None
    url = wild.url
    child = wild.get("/start")["child"]
    threading.Thread(target=_ask_and_forget, args=(f"{url}/slow?seconds=300",)).start()
    wait_until(lambda: 'state="active"} 1' in wild.metrics())
    # Lifecycle, case 34: first it says that it is not ready, and serves on
    with Load(url, clients=1, ways=("fresh", "kept")) as load:
        wild.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{wild.admin}/readyz").status_code == 503)
        count = len(load.answers)
        wait_until(lambda: len(load.answers) > count + 20)
        assert load.failures == []
    assert wild.wait_end(deadline=40) == 0
    assert wild.tree() == []
    assert not alive(child)


def _ask_and_forget(url: str) -> None:
    try:
        httpx.get(url, timeout=60)
    except httpx.TransportError:
        return


def test_quit_has_no_patience(wild: Platform) -> None:
    wild.environment["PLATFORM_DRAIN_TIMEOUT"] = "60"
    wild.start()
    assert wild.process is not None
    threading.Thread(target=_ask_and_forget, args=(f"{wild.url}/slow?seconds=300",)).start()
    wait_until(lambda: 'state="active"} 1' in wild.metrics())
    wild.process.send_signal(signal.SIGQUIT)
    assert wild.wait_end(deadline=30) == 0
    assert wild.tree() == []


@pytest.mark.parametrize("final", [None, signal.SIGTERM], ids=["run", "stop"])
def test_signals_while_it_starts_end_it_well_or_not_at_all(
    wild: Platform, final: signal.Signals | None
) -> None:
    """Lifecycle, case 6."""
    process = wild.start(ready=False).process
    assert process is not None
    # From the first line of ours on, before which only the interpreter can be ended
    wait_until(lambda: _holds_signals(process.pid), interval=0.001)

    def pester() -> bool:
        for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(process.pid, number)
        for pid in wild.tree():
            if pid != process.pid:
                _hang_up(pid)
        return "serving on" in wild.output() or final is not None

    wait_until(pester)
    if final is None:
        wild.wait_ready()
    else:
        process.send_signal(final)
        assert wild.wait_end() == 0
        assert wild.tree() == []
    assert " error: " not in wild.output()


def _hang_up(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return


def _holds_signals(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        masks = dict(line.split(":\t", 1) for line in file if line.startswith("Sig"))
    hang_up = 1 << (signal.SIGHUP - 1)
    return bool((int(masks["SigBlk"], 16) | int(masks["SigCgt"], 16)) & hang_up)
