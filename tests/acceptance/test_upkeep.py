"""Workers are replaced and their number changes while clients notice nothing."""

import json
import os
import re
import signal
import time

import httpx
import pytest

from tests.acceptance.shapes import OPERATION, STATUS, fits
from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until

LEAKY = """
import asyncio, os
from skep import Plugin, Task
from starlette.responses import JSONResponse
from starlette.routing import Route

KEPT = []

class Nothing(Task):
    async def handle(self, ctx):
        pass

async def show(request):
    return JSONResponse({"pid": os.getpid()})

async def leak(request):
    KEPT.append(os.urandom(1024 * 1024))
    return JSONResponse({"pid": os.getpid()})

async def deliver(request):
    for _ in range(50):
        await Nothing().deliver()
    return JSONResponse({})

async def slow(request):
    await asyncio.sleep(0.3)
    return JSONResponse({})

plugin = Plugin(
    routes=[
        Route("/", show), Route("/leak", leak), Route("/slow", slow),
        Route("/deliver", deliver, methods=["POST"]),
    ],
    tasks=[Nothing],
)
"""


@pytest.fixture
def leaky(platform: Platform) -> Platform:
    (platform.plugins / "leaky.py").write_text(LEAKY)
    return platform


def starts(platform: Platform, pool: str, reason: str) -> int:
    mark = f'platform_worker_starts_total{{pool="{pool}",reason="{reason}"}} '
    found = [x for x in platform.metrics().splitlines() if x.startswith(mark)]
    return int(float(found[0].rpartition(" ")[2])) if found else 0


def accepting(platform: Platform) -> int:
    """How many web workers are ready just now, by what the supervisor knows."""
    return sum(
        row["state"] == "ready" and row["slot"].startswith("web.")
        for row in platform.status()["slots"]
    )


def test_workers_that_have_served_enough_are_replaced_without_a_failed_request(
    leaky: Platform,
) -> None:
    """Lifecycle, case 29."""
    leaky.environment["PLATFORM_MAX_REQUESTS"] = "200"
    leaky.start()
    counts = []
    with Load(leaky.url) as load:

        def replaced() -> bool:
            counts.append(accepting(leaky))
            return len({a.body["pid"] for a in load.answers}) >= 22

        wait_until(replaced, deadline=60)
    assert load.failures == []
    # Twenty were replaced, never below the number there should be
    assert min(counts) >= 2
    wait_until(lambda: len(leaky.pids("web.")) == 2)
    assert starts(leaky, "web", "max_requests") >= 20
    # They said so as soon as they had served what they were to, ±10 %; how long one has to wait for
    # its successor, and serves on, is the machine's affair
    served = re.findall(r"web\.\d@1 retires \(max_requests: (\d+) served\)", leaky.output())
    assert len(served) >= 20
    assert all(180 <= int(count) <= 221 for count in served)
    # Task workers count as well
    before = leaky.pids("task.")
    for _ in range(6):
        httpx.post(f"{leaky.url}/deliver", timeout=30).raise_for_status()
    wait_until(lambda: starts(leaky, "task", "max_requests") >= 1)
    wait_until(lambda: not set(before.values()) & set(leaky.pids("task.").values()))


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("PLATFORM_MAX_RSS", "120", "max_memory"), ("PLATFORM_MAX_AGE", "4", "max_age")],
)
def test_a_leak_is_bounded_and_so_is_the_age(
    leaky: Platform, limit: str, value: str, reason: str
) -> None:
    """Lifecycle, case 30."""
    leaky.environment[limit] = value
    leaky.start()
    old = leaky.pids("web.")
    with Load(leaky.url, "/leak", clients=1, pause=0.05) as load:
        wait_until(lambda: starts(leaky, "web", reason) >= 2, deadline=60)
        wait_until(lambda: not set(old.values()) & set(leaky.pids("web.").values()), deadline=30)
    assert load.failures == []
    assert f" retires ({reason}: " in leaky.output()


def test_scaling_by_signal_command_and_configuration_survives_a_reload(
    leaky: Platform,
) -> None:
    """Lifecycle, case 41."""
    del leaky.environment["PLATFORM_WEB_WORKERS"]
    leaky.publish_sample("PLATFORM_WEB_WORKERS = 2\n")
    leaky.start()
    assert leaky.process is not None
    pid = leaky.process.pid
    with Load(leaky.url, clients=2) as load:
        os.kill(pid, signal.SIGTTIN)
        wait_until(lambda: accepting(leaky) == 3)
        assert leaky.cli("scale", "web=4", "task=2").stdout.splitlines() == [
            "There are 4 web workers.",
            "There are 2 task workers.",
        ]
        assert accepting(leaky) == 4
        # A reload keeps what was said by hand
        assert leaky.cli("reload").returncode == 0
        assert set(leaky.pids("web.")) >= {f"web.{i}@2" for i in range(4)}
        wait_until(lambda: set(leaky.pids("web.")) == {f"web.{i}@2" for i in range(4)})
        fits(leaky.status(), STATUS)
        # Down by hand as well: who is told to go has gone from the ready ones when it returns
        down = json.loads(leaky.cli("scale", "web=3", "task=1", "--json").stdout)
        assert [(row["kind"], row["count"]) for row in down] == [("web", 3), ("task", 1)]
        assert accepting(leaky) == 3
        for _ in range(5):
            os.kill(pid, signal.SIGTTOU)
            wait_until(lambda: accepting(leaky) < 3)
        # The newest go, and there is always one
        wait_until(lambda: set(leaky.pids("web.")) == {"web.0@2"})
        # What the configuration says anew is newer
        leaky.publish("PLATFORM_WEB_WORKERS=3")
        wait_until(lambda: len(leaky.pids("web.")) == 3)
        count = len(load.answers)
        wait_until(lambda: len(load.answers) > count + 50)
    assert load.failures == []
    assert leaky.status()["generation"] == 2
    fits(leaky.status(), STATUS)
    for given, says in (("cron=2", "no cron workers"), ("web=0", "1 to 1024")):
        refused = leaky.cli("scale", given)
        assert (refused.returncode, says in refused.stderr) == (2, True)


def test_a_drained_platform_lets_connections_wait_until_it_is_undrained(leaky: Platform) -> None:
    leaky.start()
    port = int(leaky.url.rpartition(":")[2])
    # What is in flight finishes; nobody who asks meanwhile is refused, and some have to wait
    with Load(leaky.url, "/slow", clients=4) as load:
        wait_until(lambda: len(load.answers) >= 8)
        done = leaky.cli("drain")
        assert (done.returncode, done.stdout.startswith("Drained")) == (0, True)
        assert leaky.pids("web.") == {}
        assert "drained" in leaky.cli("status").stdout
        answered = len(load.answers)
        assert leaky.cli("undrain").returncode == 0
        wait_until(lambda: len(load.answers) >= answered + 12)
    assert load.failures == []
    entries = json.loads(leaky.cli("history", "--json").stdout)[-2:]
    assert [(e["what"], e["outcome"]) for e in entries] == [("drain", "ok"), ("undrain", "ok")]
    fits(entries, [OPERATION])
    # Drained again, for longer
    assert json.loads(leaky.cli("drain", "--json").stdout)["sentence"].startswith("Drained")
    assert leaky.status()["state"] == "drained"
    answer = httpx.get(f"{leaky.admin}/readyz")
    assert (answer.status_code, "drained" in answer.text) == (503, True)
    refused = leaky.cli("reload")
    assert (refused.returncode, "undrain" in refused.stderr) == (1, True)
    # A client that comes now is not refused: it waits in the queue
    with Load(f"http://127.0.0.1:{port}", clients=1, ways=("fresh",)) as load:
        leaky.publish("ANYTHING=else")
        assert load.answers == []
        began = time.monotonic()
        assert leaky.cli("undrain").stdout == "In service again.\n"
        wait_until(lambda: load.answers)
        assert load.answers[0].asked < began
    assert load.failures == []
    assert httpx.get(f"{leaky.admin}/readyz").status_code == 200
    # What was published meanwhile is taken up now
    wait_until(lambda: "ANYTHING" in leaky.env_file.read_text())
    # The signal does the same, where no terminal sends it by itself
    assert leaky.process is not None
    leaky.process.send_signal(signal.SIGWINCH)
    wait_until(lambda: leaky.status()["state"] == "drained")
