"""Kill -9 anything: what was accepted is kept, and the rest does not notice."""

import os
import signal
import socket
import time

import httpx
import pytest

from tests.load import Load
from tests.platform_process import Platform, read_proc
from tests.support import wait_until

CHORES = """
import asyncio, os
from pathlib import Path
from skep import Plugin, Task
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

FILE = Path(os.environ["PLATFORM_DATA_DIR"]) / "chores.txt"

def note(what):
    with FILE.open("a") as file:
        file.write(what + "\\n")

class Chore(Task):
    number: int
    seconds: float

    async def handle(self, ctx):
        note(f"begin {self.number} {os.getpid()}")
        await asyncio.sleep(self.seconds)
        note(f"end {self.number}")

async def deliver(request: Request):
    number = request.path_params["number"]
    seconds = float(request.query_params.get("seconds", "0"))
    await Chore(number=number, seconds=seconds).deliver()
    return JSONResponse({"pid": os.getpid()})

async def slow(request: Request):
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return JSONResponse({"pid": os.getpid()})

plugin = Plugin(
    routes=[Route("/chores/{number:int}", deliver, methods=["POST"]), Route("/slow", slow)],
    tasks=[Chore],
)
"""


@pytest.fixture
def chores(sampled: Platform) -> Platform:
    (sampled.plugins / "chores.py").write_text(CHORES)
    return sampled.start()


@pytest.fixture(scope="module")
def shared_chores(shared: Platform) -> Platform:
    (shared.plugins / "chores.py").write_text(CHORES)
    return shared.add_samples().start()


def lines(platform: Platform, word: str) -> list[str]:
    file = platform.data_dir / "chores.txt"
    return (
        [line for line in file.read_text().splitlines() if line.startswith(word)]
        if (file.exists())
        else []
    )


def deliver(platform: Platform, number: int, seconds: float = 0.0) -> None:
    url = f"{platform.url}/chores/{number}?seconds={seconds}"
    assert httpx.post(url, timeout=30).status_code == 200


def ends(platform: Platform) -> set[int]:
    return {int(line.split()[1]) for line in lines(platform, "end")}


def kill_and_await(platform: Platform, name: str) -> int:
    """Kill one slot's process and wait until another is in its place and all is ready again."""
    before = platform.pids()[name]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: platform.pids().get(name) not in (None, before))
    wait_until(lambda: _ready(platform))
    return before


def _ready(platform: Platform) -> bool:
    try:
        return httpx.get(f"{platform.admin}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_web_worker_takes_only_its_own_requests_along(shared_chores: Platform) -> None:
    """Lifecycle, case 26."""
    chores = shared_chores
    with Load(chores.url, clients=4) as load:
        wait_until(lambda: len({a.body["pid"] for a in load.answers}) == 2)
        begun = time.monotonic()
        kill_and_await(chores, "web.0@1")
        replaced, count = time.monotonic(), len(load.answers)
        wait_until(lambda: len(load.answers) > count + 200)
    # No more than what its clients had under way, and when it was killed only
    assert len(load.failures) <= 12
    assert all(begun < failure.at < replaced for failure in load.failures)


@pytest.mark.parametrize(
    ("victim", "first"),
    [("task.0@1", 1000), ("store.0@0", 2000), ("agent.0@0", 3000), ("cron.0@1", 4000)],
)
def test_no_request_fails_and_every_delivered_task_ends_when_another_process_is_killed(
    shared_chores: Platform, victim: str, first: int
) -> None:
    chores, long, many = shared_chores, first + 500, first + 600
    deliver(chores, long, seconds=1.5)
    wait_until(lambda: lines(chores, f"begin {long} "))
    with Load(chores.url, f"/chores/{many}", "POST", clients=2) as load:
        wait_until(lambda: len(load.answers) > 50)
        for number in range(first, first + 10):
            deliver(chores, number)
        kill_and_await(chores, victim)
        for number in range(first + 10, first + 20):
            deliver(chores, number)
        count = len(load.answers)
        wait_until(lambda: len(load.answers) > count + 50)
    assert load.failures == []
    assert {a.status for a in load.answers} == {200}
    wait_until(lambda: ends(chores) >= {long, *range(first, first + 20)})
    # Every one that was confirmed has run, and no other process has noticed
    wait_until(lambda: len(lines(chores, f"end {many}")) >= len(load.answers), deadline=30)
    if victim != "task.0@1":
        assert len(lines(chores, f"begin {long} ")) == 1


def test_a_killed_zygote_is_replaced_and_its_workers_live(shared_chores: Platform) -> None:
    chores = shared_chores
    pids = chores.pids()
    zygotes = wait_until(lambda: (found := chores.zygotes())[1:] and found)
    with Load(chores.url) as load:
        wait_until(lambda: len(load.answers) > 50)
        # First the one in service: the understudy steps in with the same code
        os.kill(zygotes[0], signal.SIGKILL)
        wait_until(lambda: len(set(chores.zygotes()) - set(zygotes)) == 1)
        assert chores.pids() == pids
        # Then both at once: a fresh one is started from the disk, which holds the same code
        for pid in chores.zygotes():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(chores.zygotes()) - set(zygotes)) == 2)
        fresh = chores.zygotes()
        assert chores.pids() == pids
        assert load.failures == []
    assert not set(fresh) & set(zygotes)
    # And it can give birth
    kill_and_await(chores, "web.1@1")


def test_after_a_kill_of_the_supervisor_nothing_is_left_and_a_start_takes_it_up(
    chores: Platform,
) -> None:
    """Lifecycle, case 31."""
    for number in range(20):
        deliver(chores, number, seconds=0.5)
    deliver(chores, 1000, seconds=30)
    wait_until(lambda: lines(chores, "begin 1000"))
    assert chores.process is not None
    chores.process.kill()
    chores.process.wait()
    # At once, although those of the old one are still ending
    tree = set(chores.tree())
    port = chores.url.rpartition(":")[2]
    chores.start("--port", port)
    wait_until(lambda: not tree & set(chores.tree()), deadline=30)
    assert chores.url.endswith(port)
    wait_until(lambda: ends(chores) >= set(range(20)))
    wait_until(lambda: len(lines(chores, "begin 1000")) == 2)
    # What could finish after the death of the supervisor was settled, and did not run again
    assert all(len(lines(chores, f"begin {number} ")) == 1 for number in range(20))


def test_a_worker_whose_loop_is_blocked_does_not_outlive_the_supervisor(
    sampled: Platform,
) -> None:
    (sampled.plugins / "stuck.py").write_text(
        "import time\nfrom skep import Plugin\nfrom starlette.routing import Route\n\n\n"
        "async def stuck(request):\n    time.sleep(60)\n\n\n"
        "plugin = Plugin(routes=[Route('/stuck', stuck)])\n"
    )
    sampled.start()
    host, port = sampled.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n")
        wait_until(lambda: _blocked(sampled))
        assert sampled.process is not None
        sampled.process.kill()
        sampled.process.wait()
        wait_until(lambda: not sampled.tree(), deadline=30)


def _blocked(platform: Platform) -> bool:
    """Whether a web worker sleeps outside of its event loop."""
    return any("nanosleep" in read_proc(pid, "wchan") for pid in platform.pids("web.").values())
