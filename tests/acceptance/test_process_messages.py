"""Messages to custom processes on a real platform, from every kind of code."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest

from skep.messaging import calls
from skep.messaging.binding import PostOffice
from skep.messaging.waiting import run_blocking
from tests.platform_process import ROOT, Platform
from tests.support import PATIENCE, wait_until

PLUGIN = """
import asyncio, os
from pathlib import Path
from skep import Hooks, Plugin, Process, Table, Task, cron
from starlette.responses import JSONResponse
from starlette.routing import Route


class Answers(Table, rows=100):
    n: int


class Echo(Process, num=1):
    async def run(self, ctx):
        async for message in ctx.messages():
            await message.reply({"echo": message.body})


class Count(Process, num=2):
    def run(self, ctx):
        for message in ctx.messages():
            for n in range(message.body):
                message.reply_sync(n)


class Who(Process, num=3, message=str):
    async def run(self, ctx):
        async for message in ctx.messages():
            if message.body == "die":
                os.kill(os.getpid(), 9)
            await message.reply([ctx.index, os.getpid()])


class Off(Process, enable=False):
    async def run(self, ctx): ...


class Ask(Task):
    async def handle(self, ctx):
        assert await Echo.request("task") == {"echo": "task"}
        Answers.increment("task", "n")


class AskInThread(Task):
    def handle(self, ctx):
        assert Echo.request_sync("thread") == {"echo": "thread"}
        assert list(Count.stream(3)) == [0, 1, 2]
        Answers.increment("thread", "n")


class Relay(Process):
    async def run(self, ctx):
        async for message in ctx.messages():
            await message.reply(await Echo.request(message.body))


@cron(every="100ms")
async def tick(tick):
    assert await Echo.request("cron") == {"echo": "cron"}
    Answers.increment("cron", "n")


async def reloaded(info):
    assert await Echo.request("hook", timeout=30) == {"echo": "hook"}
    Answers.increment("hook", "n")


async def ask(request):
    return JSONResponse(await Echo.request({"x": 1}, timeout=20))


async def slow(request):
    Path("slow").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return JSONResponse([await Echo.request("late"), await Relay.request("far")])


async def relay(request):
    return JSONResponse(await Relay.request("far", timeout=20))


def ask_in_thread(request):
    Echo.send_sync("no reply")
    return JSONResponse(Echo.request_sync("thread", timeout=20))


async def count(request):
    return JSONResponse([n async for n in Count.stream(1000)])


async def answers(request):
    await Ask().deliver()
    await AskInThread().deliver()
    return JSONResponse({row.key: row.n for row in Answers.rows()})


plugin = Plugin(
    processes=[Echo, Count, Who, Off, Relay],
    tasks=[Ask, AskInThread], crons=[tick], tables=[Answers], hooks=Hooks(after_reload=reloaded),
    routes=[
        Route("/ask", ask), Route("/relay", relay), Route("/thread", ask_in_thread),
        Route("/count", count), Route("/slow", slow), Route("/answers", answers),
    ],
)
"""


@pytest.fixture(scope="module")
def ticking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that several tests share: they count, kill and roll out, and leave it serving."""
    platform = Platform(tmp_path_factory.mktemp("ticking"))
    (platform.plugins / "ticker.py").write_text(PLUGIN)
    try:
        yield platform.start()
    finally:
        platform.stop()


def request(platform: Platform, *arguments: str) -> subprocess.CompletedProcess[str]:
    return platform.cli("proc", "request", *arguments)


def replied(platform: Platform, name: str, body: object) -> object:
    """Return the reply to a message of this process, as a script would send it."""
    office = PostOffice(platform.data_dir / "inboxes")
    encoded = msgspec.msgpack.encode(body)
    try:
        steps = calls.request(office, name, encoded, PATIENCE, "wait", 2**20)
        return msgspec.msgpack.decode(run_blocking(steps))
    finally:
        office.outbox.close()


def test_every_kind_of_code_reaches_a_process(ticking: Platform) -> None:
    """laravels.md §6: process."""
    assert ticking.get("/ask") == {"echo": {"x": 1}}
    assert ticking.get("/relay") == {"echo": "far"}
    assert ticking.get("/thread") == {"echo": "thread"}
    assert ticking.get("/count") == list(range(1000))
    wait_until(lambda: {"task", "thread", "cron"} <= ticking.get("/answers").keys())


def test_a_script_reaches_a_process(ticking: Platform) -> None:
    script = (
        "import asyncio\nfrom plugins.ticker import Count, Echo\n"
        "Echo.send_sync(0)\nprint(Echo.request_sync([1]), list(Count.stream(3)))\n"
        "async def main():\n"
        "    await Echo.send(0)\n"
        "    print(await Echo.request(2), [n async for n in Count.stream(2)])\n"
        "asyncio.run(main())\nasyncio.run(main())\n"
    )
    environment = {**ticking.environment, "PYTHONPATH": f"{ROOT}/platform:{ticking.directory}"}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-P", "-c", script],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (
        "{'echo': [1]} [0, 1, 2]\n{'echo': 2} [0, 1]\n{'echo': 2} [0, 1]\n",
        "",
    )


def test_operators_send_and_ask_by_hand(ticking: Platform) -> None:
    done = request(ticking, "ticker.Echo", '{"x": 1}')
    assert json.loads(done.stdout) == {"echo": {"x": 1}}
    done = request(ticking, "ticker.Echo")
    assert json.loads(done.stdout) == {"echo": None}
    assert ticking.cli("proc", "send", "ticker.Echo", "[1]").returncode == 0
    done = ticking.cli("proc", "stream", "ticker.Count", "3")
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")
    for arguments, code, text in (
        (("ticker.Echo", "{"), 2, "The message '{' is not JSON"),
        (("ticker.Who", "5"), 2, "ticker.Who: a message does not fit its type, which is str"),
        (("ticker.Nope",), 3, "has no process ticker.Nope with an inbox"),
        (("ticker.Off",), 3, "has no process ticker.Off"),
        (("ticker.Echo", "1", "--timeout", "-1"), 2, "timeout is -1.0"),
        (("ticker.Who", '"die"'), 1, "ticker.Who ended, or gave the caller up"),
    ):
        done = request(ticking, *arguments)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_processes_of_one_class_share_the_messages(ticking: Platform) -> None:
    wait_until(lambda: len(ticking.pids("process.ticker.Who.")) == 3)

    seen = set()

    def all_were_asked() -> bool:
        reply = replied(ticking, "ticker.Who", "who")
        assert isinstance(reply, list)
        seen.add(reply[0])
        return seen == {0, 1, 2}

    wait_until(all_were_asked, 4 * PATIENCE)


def test_a_request_waits_while_its_process_is_started_again(ticking: Platform) -> None:
    before = ticking.pids("process.ticker.Echo.")
    ((name, pid),) = before.items()
    os.kill(pid, signal.SIGKILL)
    assert ticking.get("/ask") == {"echo": {"x": 1}}
    wait_until(lambda: ticking.pids("process.ticker.Echo.").get(name) not in (None, pid))


def asking(
    platform: Platform, stop: threading.Event, outcomes: Counter[str]
) -> list[threading.Thread]:
    """Four clients, each with one request after the other."""

    def ask() -> None:
        with httpx.Client(base_url=platform.url, timeout=PATIENCE) as client:
            while not stop.is_set():
                try:
                    answer = client.get("/ask")
                except httpx.TransportError as error:
                    outcomes[repr(error)] += 1
                else:
                    outcomes[f"{answer.status_code} {answer.text}"] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    return threads


def wait_for_more(outcomes: Counter[str]) -> None:
    wanted = outcomes.total() + 50
    wait_until(lambda: outcomes.total() >= wanted)


def test_rollouts_under_a_stream_of_requests_lose_none(ticking: Platform) -> None:
    stop, outcomes = threading.Event(), Counter[str]()
    threads = asking(ticking, stop, outcomes)
    try:
        for _ in range(3):
            wait_for_more(outcomes)
            assert ticking.cli("reload").returncode == 0
        wait_for_more(outcomes)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(outcomes) == {'200 {"echo":{"x":1}}'}, outcomes
    wait_until(lambda: "hook" in ticking.get("/answers"))


def test_a_restart_of_the_supervisor_keeps_what_waits(ticking: Platform) -> None:
    inode = (ticking.data_dir / "inboxes" / "ticker.Echo.sock").stat().st_ino
    assert ticking.cli("restart").returncode == 0
    assert (ticking.data_dir / "inboxes" / "ticker.Echo.sock").stat().st_ino == inode
    ticking.wait_ready()
    assert replied(ticking, "ticker.Echo", 1) == {"echo": 1}


def test_what_is_sent_received_and_refused_is_counted(ticking: Platform) -> None:
    zero = 'platform_process_messages_refused_total{process="ticker.Echo",reason="busy"} 0'
    assert zero in ticking.metrics()
    ticking.get("/ask")

    def counted() -> bool:
        names = {
            name.partition("{")[0]
            for name, value in ticking.counters().items()
            if 'process="ticker.Echo"' in name and value > 0
        }
        return {
            "platform_process_messages_sent_total",
            "platform_process_messages_received_total",
        } <= names

    wait_until(counted)
    assert 'platform_process_request_duration_seconds_count{process="ticker.Echo"}' in (
        ticking.metrics()
    )


def test_a_stop_lets_requests_in_flight_have_their_replies(platform: Platform) -> None:
    (platform.plugins / "ticker.py").write_text(PLUGIN)
    platform.start()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(platform.get, "/slow")
        wait_until((platform.directory / "slow").exists)
        assert platform.process
        platform.process.send_signal(signal.SIGTERM)

        def states() -> dict[str, str]:
            return {row["slot"]: row["state"] for row in platform.status()["slots"]}

        wait_until(lambda: "draining" in states().values())
        assert states()["process.ticker.Echo.0"] == "ready"
        (platform.directory / "go").touch()
        assert answer.result() == [{"echo": "late"}, {"echo": "far"}]
    assert platform.wait_end() == 0


def test_old_workers_have_replies_of_a_class_that_is_gone(platform: Platform) -> None:
    (platform.plugins / "ticker.py").write_text(PLUGIN)
    platform.start()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(platform.get, "/slow")
        wait_until((platform.directory / "slow").exists)
        (platform.plugins / "ticker.py").write_text("from skep import Plugin\nplugin = Plugin()\n")
        assert platform.cli("reload").returncode == 0
        (platform.directory / "go").touch()
        assert answer.result() == [{"echo": "late"}, {"echo": "far"}]
    wait_until(lambda: not list((platform.data_dir / "inboxes").iterdir()))
    assert platform.pids("process.") == {}


def test_a_class_that_is_gone_has_no_inbox_any_more(platform: Platform) -> None:
    (platform.plugins / "ticker.py").write_text(PLUGIN)
    platform.start()
    folder = platform.data_dir / "inboxes"
    names = {path.stem for path in folder.glob("*.sock")}
    assert names == {"ticker.Echo", "ticker.Count", "ticker.Who", "ticker.Relay"}
    (platform.plugins / "ticker.py").write_text(
        "from skep import Plugin, Process\n"
        "class Echo(Process):\n"
        "    async def run(self, ctx):\n"
        "        async for message in ctx.messages():\n"
        "            await message.reply('new')\n"
        "plugin = Plugin(processes=[Echo])\n"
    )
    assert platform.cli("reload").returncode == 0
    wait_until(lambda: {path.stem for path in folder.iterdir()} == {"ticker.Echo"})
    assert replied(platform, "ticker.Echo", None) == "new"
    assert request(platform, "ticker.Who", '"who"').returncode == 3
    platform.stop()
    assert list(folder.iterdir()) == []
    assert request(platform, "ticker.Echo").returncode == 3


def test_check_names_the_class_and_the_option(platform: Platform) -> None:
    changed = PLUGIN.replace("class Echo(Process, num=1)", "class Echo(Process, message=5)")
    (platform.plugins / "ticker.py").write_text(changed)
    done = platform.cli("check")
    assert done.returncode == 3
    assert "plugin ticker" in done.stderr
    assert "has message = 5, which is not a type of data" in done.stderr
    early = f"{PLUGIN}\nEcho.send_sync(1)\n"
    (platform.plugins / "ticker.py").write_text(early)
    assert "No process can be reached while plugins are loaded" in platform.cli("check").stderr


def test_files_of_a_platform_that_was_killed_are_not_in_the_way(platform: Platform) -> None:
    (platform.plugins / "ticker.py").write_text(PLUGIN)
    platform.start()
    platform.kill_tree()
    assert platform.process
    platform.process.wait()
    assert (platform.data_dir / "inboxes" / "ticker.Who.sock").is_socket()
    assert request(platform, "ticker.Echo").returncode == 3
    platform.start()
    assert replied(platform, "ticker.Echo", 1) == {"echo": 1}
