"""Custom processes on a real platform."""

import json
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_process import Platform, read_proc
from tests.support import wait_until

ZOO = """
import asyncio, os, sys, time
from pathlib import Path
from skep import Plugin, Process

def note(name, text=""):
    with open(name, "a") as file:
        file.write(f"{text}\\n")

class Beat(Process, num=3):
    async def run(self, ctx):
        print("beat of", ctx.index)
        await ctx.stopping.wait()

class Done(Process, restart="on_failure"):
    async def run(self, ctx):
        note("done.runs")

class Never(Process, restart="never"):
    def run(self, ctx):
        note("never.runs")
        sys.exit(3)

class Crash(Process):
    async def run(self, ctx):
        note("crash.runs")
        raise RuntimeError("the crash of a test")

class Hang(Process):
    async def run(self, ctx):
        await asyncio.sleep(0.1)
        if not Path("hung").exists():
            Path("hung").touch()
            time.sleep(3600)
        await ctx.stopping.wait()

class Busy(Process, stop_timeout=0.5):
    def run(self, ctx):
        while True:
            time.sleep(3600)

class Tree(Process, command=["sh", "-c", "echo from stdout; echo from stderr >&2;"
           "echo $WHO $SKEP_SLOT; sleep 3600 & wait"], environment={"WHO": "a tree"}):
    pass

class Off(Process, enable=False):
    async def run(self, ctx):
        note("off.runs")

class Third(Process, after=["zoo.Second"]):
    async def run(self, ctx):
        note("order", "third")
        await ctx.stopping.wait()

class First(Process):
    async def run(self, ctx):
        note("order", "first")
        await ctx.stopping.wait()

class Second(Process, after=First):
    async def run(self, ctx):
        note("order", "second")
        await ctx.stopping.wait()

plugin = Plugin(processes=[Third, Second, First, Beat, Done, Never, Crash, Hang, Busy, Tree, Off])
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with all kinds of processes; the tests that share it disturb one each."""
    platform = Platform(
        tmp_path_factory.mktemp("zoo"), PLATFORM_HANG_TIMEOUT="3", PLATFORM_WEB_WORKERS="1"
    )
    (platform.plugins / "zoo.py").write_text(ZOO)
    try:
        yield platform.start()
    finally:
        platform.stop()


def processes(platform: Platform) -> dict[str, dict[str, Any]]:
    """Return what `platform proc ls` says, by slot, or by class where there is none."""
    done = platform.cli("proc", "ls", "--json")
    assert done.returncode == 0, done.stderr
    return {row["slot"] or row["process"]: row for row in json.loads(done.stdout)}


def state(platform: Platform, slot: str) -> str:
    slots = {row["slot"]: row["state"] for row in platform.status()["slots"]}
    return str(slots.get(f"process.{slot}", "gone"))


def lines(platform: Platform, name: str) -> list[str]:
    path = platform.directory / name
    return path.read_text().splitlines() if path.exists() else []


def test_the_policy_decides_whether_a_process_that_ended_is_started_again(zoo: Platform) -> None:
    """Case 40: exit 0 with on_failure is not restarted; a failure is, with backoff. laravels.md §6,
    restart_interval: `platform ps` shows the backoff."""
    # By the third crash the others have long ended
    wait_until(lambda: len(lines(zoo, "crash.runs")) >= 3)
    wait_until(lambda: re.search(r"zoo.Crash.0@1 +- +backoff", zoo.cli("ps").stdout))
    rows = processes(zoo)
    assert rows["process.zoo.Crash.0"]["ends"] >= 3
    assert rows["process.zoo.Done.0"]["state"] == "done"
    assert rows["process.zoo.Never.0"]["state"] == "failed"
    assert rows["process.zoo.Never.0"]["last_end"] == "exited with 3"
    assert (lines(zoo, "done.runs"), lines(zoo, "never.runs")) == ([""], [""])


def test_a_crash_loop_degrades_the_platform_and_leaves_it_ready(zoo: Platform) -> None:
    wait_until(lambda: any("zoo.Crash in backoff" in r for r in zoo.status()["reasons"]))
    assert zoo.status()["state"] == "degraded"
    assert "process.zoo.Never.0 exited with 3 and is not started again" in zoo.status()["reasons"]
    assert zoo.ask_admin("/readyz").status_code == 200
    # It slows no other: one that is killed meanwhile is back at once
    before = zoo.pids("process.zoo.First")
    zoo.kill(before["process.zoo.First.0@1"])
    wait_until(lambda: zoo.pids("process.zoo.First") not in (before, {}))


def test_there_are_as_many_as_the_class_says_and_one_that_is_killed_comes_back(
    zoo: Platform,
) -> None:
    """laravels.md §6: custom process, process titles."""
    before = zoo.pids("process.zoo.Beat")
    assert sorted(before) == [f"process.zoo.Beat.{i}@1" for i in range(3)]
    titles = [line for line in zoo.command_lines() if "process.zoo.Beat" in line]
    assert len(titles) == 3
    zoo.kill(before["process.zoo.Beat.1@1"])

    def after() -> dict[str, int]:
        pids = zoo.pids("process.zoo.Beat")
        return pids if len(pids) == 3 and pids != before else {}

    changed = {name for name, pid in wait_until(after).items() if before[name] != pid}
    assert changed == {"process.zoo.Beat.1@1"}


def test_a_loop_that_is_blocked_is_replaced_and_a_thread_may_take_its_time(zoo: Platform) -> None:
    busy = zoo.pids("process.zoo.Busy")
    wait_until(lambda: re.search(r"zoo.Hang.0@1 .* does not answer", zoo.output()))
    wait_until(lambda: state(zoo, "zoo.Hang.0") == "ready")
    assert re.search(r'zoo.py", line \d+ in run', zoo.output())
    assert zoo.pids("process.zoo.Busy") == busy


def test_processes_go_in_their_order_and_disabled_ones_not_at_all(zoo: Platform) -> None:
    assert lines(zoo, "order")[:3] == ["first", "second", "third"]
    assert processes(zoo)["zoo.Off"]["state"] == "disabled"
    assert lines(zoo, "off.runs") == []


def group_of(platform: Platform) -> set[int]:
    """Return the processes of the external program, its guard left out."""
    return {
        pid
        for pid in platform.tree()
        if read_proc(pid, "cmdline").startswith(("sh\0-c\0echo from", "sleep\x003600"))
    }


def test_an_external_program_has_its_environment_and_prints_into_the_log(zoo: Platform) -> None:
    kept = zoo.cli("proc", "logs", "zoo.Tree").stdout
    for line in ("from stdout  stream=stdout", "from stderr  stream=stderr"):
        assert line in kept
        assert line in zoo.output()
    assert "a tree process.zoo.Tree.0" in kept


def test_a_worker_that_is_killed_takes_its_program_along(zoo: Platform) -> None:
    before = wait_until(lambda: len(group_of(zoo)) == 2 and group_of(zoo))
    assert before
    zoo.kill(zoo.pids("process.zoo.Tree")["process.zoo.Tree.0@1"])
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    wait_until(lambda: len(group_of(zoo)) == 2)


def test_a_process_is_restarted_by_hand(zoo: Platform) -> None:
    before = zoo.pids("process.zoo.Second")
    done = zoo.cli("proc", "restart", "zoo.Second")
    assert (done.returncode, done.stdout) == (0, "Restarted: process.zoo.Second.0.\n")
    assert zoo.pids("process.zoo.Second") not in (before, {})
    # One that is done runs once more; one that crashes at once is not ready
    assert zoo.cli("proc", "restart", "process.zoo.Done.0").returncode == 0
    assert len(lines(zoo, "done.runs")) == 2
    failed = zoo.cli("proc", "restart", "zoo.Crash")
    assert failed.returncode == 1
    assert "process.zoo.Crash.0 was started and exited with 1" in failed.stderr
    unknown = zoo.cli("proc", "restart", "zoo.Nobody")
    assert unknown.returncode != 0
    assert "There is no custom process zoo.Nobody; there are zoo.Third" in unknown.stderr


def test_what_a_process_has_logged_is_shown(zoo: Platform) -> None:
    entries = json.loads(zoo.cli("proc", "logs", "zoo.Crash", "--json").stdout)
    assert "the crash of a test" in entries[-1]["exception"]
    assert {entry["slot"] for entry in entries} == {"process.zoo.Crash.0"}
    every = zoo.cli("proc", "logs", "zoo.Beat").stdout
    assert all(f"beat of {index}" in every for index in range(3))
    assert len(zoo.cli("proc", "logs", "zoo.Beat", "-n", "1").stdout.splitlines()) == 1


def test_every_process_has_its_metrics_from_the_start(zoo: Platform) -> None:
    text = zoo.metrics()
    assert 'platform_process_state{process="zoo.Beat",state="running"} 3' in text
    assert 'platform_process_state{process="zoo.Done",state="done"} 1' in text
    assert 'platform_process_restarts_total{process="zoo.Busy"} 0' in text
    assert 'platform_process_exits_total{process="zoo.Busy",reason="oom"} 0' in text
    assert 'platform_worker_start_time_seconds{pool="process",worker="process.zoo.Beat.2"}' in text
    assert "zoo.Off" not in text


# -- rollouts --------------------------------------------------------------------------------------

SHOP = """
import asyncio
from pathlib import Path
from skep import Plugin, Process
from starlette.responses import JSONResponse
from starlette.routing import Route

VERSION = 1

def note(name, text):
    with open(name, "a") as file:
        file.write(f"{text}\\n")

class Echo(Process, num=NUM):
    async def run(self, ctx):
        note("runs", f"begin {ctx.slot}")
        async for message in ctx.messages():
            await message.reply({"version": VERSION, "n": message.body})
        note("runs", f"end {ctx.slot}")

    def on_reload(self, ctx):
        note("hooks", f"reload {ctx.slot} {VERSION}")

    async def on_stop(self, ctx):
        note("hooks", f"stop {ctx.slot} {VERSION}")

class Extra(Process, stop_timeout=20):
    async def run(self, ctx):
        await ctx.stopping.wait()
        while not Path("let.extra.go").exists():
            await asyncio.sleep(0.02)
        note("runs", f"end {ctx.slot}")

async def ask(request):
    return JSONResponse(await Echo.request(int(request.query_params["n"]), timeout=20))

plugin = Plugin(routes=[Route("/ask", ask)], processes=[PROCESSES])
"""


def write_shop(platform: Platform, version: int, num: int = 1, more: str = "Extra") -> None:
    text = SHOP.replace("VERSION = 1", f"VERSION = {version}").replace("num=NUM", f"num={num}")
    names = f"Echo, {more}" if more else "Echo"
    (platform.plugins / "shop.py").write_text(text.replace("PROCESSES", names))


class Load:
    """Requests from a web worker to the process, one after the other, in two threads."""

    def __init__(self, platform: Platform) -> None:
        self.replies: list[tuple[int, int]] = []
        self.failures: list[str] = []
        self._platform = platform
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(2)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, first: int) -> None:
        number = first
        while not self._over.is_set():
            number += 2
            try:
                answer = httpx.get(f"{self._platform.url}/ask?n={number}", timeout=25)
                found = answer.raise_for_status().json()
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            if found["n"] != number:
                self.failures.append(f"{number}: {found}")
            self.replies.append((found["version"], number))


def _has_replied(load: Load, version: int) -> bool:
    return any(found == version for found, _ in load.replies)


def _runs(platform: Platform, version: int, num: int) -> bool:
    there = {name for name in platform.pids("process.shop.Echo") if name.endswith(f"@{version}")}
    return there == {f"process.shop.Echo.{i}@{version}" for i in range(num)}


def test_no_message_is_lost_through_rollouts_that_change_the_processes(platform: Platform) -> None:
    """A message waits while its process is replaced; the number of processes changes, one is
    removed while it still works, and the hooks are called in the old ones."""
    write_shop(platform, 1)
    platform.start()
    with Load(platform) as load:
        for version, num in ((2, 3), (3, 1)):
            write_shop(platform, version, num, more="")
            done = platform.cli("reload")
            assert done.returncode == 0, done.stderr
            wait_until(partial(_has_replied, load, version))
            wait_until(partial(_runs, platform, version, num))
            if version == 2:
                # It was removed, and the rollout has not waited for it
                assert "process.shop.Extra.0@1" in platform.pids("process.shop.Extra")
                (platform.directory / "let.extra.go").touch()
                wait_until(lambda: not platform.pids("process.shop.Extra"))
    assert load.failures == []
    hooks = lines(platform, "hooks")
    assert hooks[:2] == ["reload process.shop.Echo.0 1", "stop process.shop.Echo.0 1"]
    # Only the slot that the new generation has too was reloaded
    assert "reload process.shop.Echo.0 2" in hooks
    assert "reload process.shop.Echo.2 2" not in hooks
    assert "stop process.shop.Echo.2 2" in hooks
    assert "end process.shop.Extra.0" in lines(platform, "runs")


def test_there_are_never_two_in_a_slot_unless_they_may_overlap(platform: Platform) -> None:
    write_shop(platform, 1, num=2, more="")
    platform.start()
    for version in range(2, 7):
        write_shop(platform, version, num=2, more="")
        assert platform.cli("reload").returncode == 0
    wait_until(lambda: len(platform.pids("process.shop.Echo")) == 2)
    for slot in ("process.shop.Echo.0", "process.shop.Echo.1"):
        runs = [line.split()[0] for line in lines(platform, "runs") if line.endswith(slot)]
        assert runs[:10] == ["begin", "end"] * 5


BROKEN = """
from skep import Plugin, Process

class Echo(Process):
    def __init__(self):
        raise RuntimeError("not today")

    async def run(self, ctx):
        await ctx.stopping.wait()

plugin = Plugin(processes=[Echo])
"""


def test_a_process_that_cannot_be_made_refuses_and_one_that_crashes_does_not(
    platform: Platform,
) -> None:
    write_shop(platform, 1, more="")
    platform.start()
    before = platform.pids("process.shop")
    (platform.plugins / "shop.py").write_text(BROKEN)
    refused = platform.cli("reload")
    assert refused.returncode == 1
    assert "process.shop.Echo.0@2: RuntimeError: not today" in refused.stderr
    assert platform.pids("process.shop") == before
    crashing = BROKEN.replace("__init__(self)", "on_stop(self, ctx)").replace(
        "await ctx.stopping.wait()", "raise RuntimeError('later')"
    )
    (platform.plugins / "shop.py").write_text(crashing)
    assert platform.cli("reload").returncode == 0
    wait_until(lambda: any("shop.Echo in backoff" in r for r in platform.status()["reasons"]))
    assert platform.status()["generation"] == 3
    assert platform.ask_admin("/readyz").status_code == 200


# -- the end ---------------------------------------------------------------------------------------

REQUIRED = """
import sys
from skep import Plugin, Process

class Needed(Process, required=True, restart="RESTART"):
    async def run(self, ctx):
        await ctx.stopping.wait(0.2)
        sys.exit(1)

plugin = Plugin(processes=[Needed])
"""


@pytest.mark.parametrize("restart", ["never", "always"])
def test_a_required_process_that_is_given_up_ends_the_platform(
    platform: Platform, restart: str
) -> None:
    """Case 40: required and unrecoverable → exit 7."""
    (platform.plugins / "needs.py").write_text(REQUIRED.replace("RESTART", restart))
    platform.environment["PLATFORM_GIVE_UP"] = "1"
    platform.start(ready=False)
    assert platform.wait_end(60) == 7
    assert "giving up, exit code 7: process.needs.Needed" in platform.output()


def test_a_stop_ends_in_time_although_a_process_does_not(platform: Platform) -> None:
    """laravels.md §6: process stop. A thread that never looks, and a program that ignores
    SIGTERM."""
    stubborn = ZOO.replace('"sh", "-c", "', '"sh", "-c", "trap : TERM; ').replace(
        "sleep 3600 & wait", "while :; do sleep 1; done"
    )
    stubborn = stubborn.replace('environment={"WHO"', 'stop_timeout=0.5, environment={"WHO"')
    (platform.plugins / "zoo.py").write_text(
        stubborn.replace(
            "[Third, Second, First, Beat, Done, Never, Crash, Hang, Busy, Tree, Off]",
            "[Busy, Tree]",
        )
    )
    platform.start()
    wait_until(lambda: "a tree" in platform.output())
    assert platform.process is not None
    platform.process.send_signal(signal.SIGTERM)
    assert platform.wait_end() == 0
    assert platform.tree() == []
    assert "process.zoo.Busy.0 has not ended in time and is cut off" in platform.output()


def test_a_machine_may_leave_processes_out(platform: Platform) -> None:
    (platform.plugins / "zoo.py").write_text(ZOO)
    platform.environment["PLATFORM_KINDS"] = "web"
    platform.start()
    assert platform.pids("process") == {}
    assert platform.status()["left_out"] == ["process"]
    assert {row["state"] for row in processes(platform).values()} == {"left out", "disabled"}


def test_the_sample_answers_from_any_worker_and_its_program_is_in_the_log(
    sampled: Platform,
) -> None:
    sampled.environment["PLATFORM_WEB_WORKERS"] = "1"
    sampled.start()
    assert sampled.get("/ticker")["process"] == "process.ticker.Ticker.0@1"
    done = sampled.cli("proc", "request", "ticker.Ticker")
    assert json.loads(done.stdout)["process"] == "process.ticker.Ticker.0@1"
    assert sampled.cli("reload").returncode == 0
    assert sampled.get("/ticker")["process"] == "process.ticker.Ticker.0@2"
    assert "it is " in sampled.cli("proc", "logs", "ticker.Hours").stdout


WHO = """
from skep import Plugin, Process

class Who(Process, command=["id", "-un"], user="nobody", restart="never"):
    pass

plugin = Plugin(processes=[Who])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_a_program_runs_as_another_user_if_the_platform_is_root() -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        directory.chmod(0o755)  # other users may enter it, unlike those that pytest makes
        platform = Platform(directory)
        (platform.plugins / "who.py").write_text(WHO)
        try:
            platform.start()
            wait_until(lambda: state(platform, "who.Who.0") == "done")
            assert "nobody  stream=stdout" in platform.cli("proc", "logs", "who.Who").stdout
        finally:
            platform.stop()
