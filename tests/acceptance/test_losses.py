"""Workers that die at a bad moment, or again and again: the others go on, and it shows."""

import threading
from typing import Any

import httpx
import pytest

from tests.load import Load
from tests.platform_process import Platform
from tests.support import PATIENCE, wait_until

FRAGILE = """
import asyncio, os, time
from contextlib import asynccontextmanager
from pathlib import Path
from skep import Plugin, Settings, Task, Worker
from starlette.responses import JSONResponse
from starlette.routing import Route

born = 0.0

class MoodSettings(Settings, prefix="MOOD_"):
    now: str = "good"

class Nothing(Task):
    async def handle(self, ctx):
        pass

class Narrow(Task):
    queue = "narrow"

    async def handle(self, ctx):
        pass

async def die_when_committed(mood):
    # Once it has said that it is prepared: block the loop, so that it does not go before its end
    while any(task.get_coro().__name__ == "_contained" for task in asyncio.all_tasks()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    Path(f"waits.{Worker.current().slot}").touch()
    while f"MOOD_NOW={mood}" not in Path(".env").read_text():
        time.sleep(0.001)
    os._exit(9)

async def die_with_the_next():
    while not Path("next.prepares").exists():
        await asyncio.sleep(0.01)
    os._exit(9)

@asynccontextmanager
async def life():
    global born
    born = time.monotonic()
    mood, slot, loop = MoodSettings.current().now, Worker.current().slot, asyncio.get_running_loop()
    if mood == "dies-once" and slot == "web.0" and not Path("waits.web.0").exists():
        dying = loop.create_task(die_when_committed(mood))
    elif mood == "dies-once":
        while not Path("waits.web.0").exists():
            await asyncio.sleep(0.01)
    elif mood == "task-dies" and slot == "task.0":
        if Path("waits.task.0").exists():
            while not Path("slow.begun").exists():
                await asyncio.sleep(0.01)
            os._exit(9)
        dying = loop.create_task(die_when_committed(mood))
    elif mood == "task-dies":
        while not Path("waits.task.0").exists():
            await asyncio.sleep(0.01)
    elif mood == "dies-later" and slot.startswith("web."):
        loop.call_later(1.5, os._exit, 9)
    elif mood == "dies-with-the-next" and slot.startswith("web."):
        dying = loop.create_task(die_with_the_next())
    elif mood == "mends":
        Path("next.prepares").touch()
        while not Path("next.goes").exists():
            await asyncio.sleep(0.01)
    yield

async def show(request):
    mood = MoodSettings.current().now
    return JSONResponse({"mood": mood, "generation": Worker.current().generation})

async def die(request):
    if time.monotonic() - born > 1.0:
        os._exit(9)
    return JSONResponse({})

async def deliver(request):
    await Nothing().deliver()
    return JSONResponse({})

async def deliver_later(request):
    await Narrow().deliver(delay=3600)
    return JSONResponse({})

async def slow(request):
    Path("slow.begun").touch()
    while not Path("slow.ends").exists():
        await asyncio.sleep(0.01)
    return JSONResponse({"mood": MoodSettings.current().now})

async def slow_in_the_new(request):
    if MoodSettings.current().now != "task-dies":
        return JSONResponse({}, status_code=404)
    return await slow(request)

plugin = Plugin(
    routes=[
        Route("/", show), Route("/die", die), Route("/slow", slow_in_the_new),
        Route("/deliver", deliver, methods=["POST"]),
        Route("/later", deliver_later, methods=["POST"]),
    ],
    tasks=[Nothing, Narrow], settings=[MoodSettings], lifespan=life,
)
"""


@pytest.fixture
def fragile(platform: Platform) -> Platform:
    (platform.plugins / "fragile.py").write_text(FRAGILE)
    platform.publish_sample("MOOD_NOW = good\n")
    return platform


def test_a_worker_that_dies_between_prepared_and_go_is_replaced_and_none_is_killed(
    fragile: Platform,
) -> None:
    """D4: a worker of the coming generation that dies between prepared and go is a crash like any
    other; workers that have accepted are drained when their generation is refused after all."""
    fragile.start()
    # Given one web worker that dies once the configuration is on the disk: the rollout goes on
    with Load(fragile.url) as load:
        fragile.publish("MOOD_NOW=dies-once")
        wait_until(lambda: load.answers[-1].body["mood"] == "dies-once")
        wait_until(lambda: len(fragile.pids("web.")) == 2)
    assert load.failures == []
    status = fragile.status()
    assert (status["generation"], status["refused"]) == (2, None)
    assert fragile.output().count("exited with 9") == 1
    # Given the only task worker that dies so each time: it is refused, but its web workers accept
    slow: list[Any] = []
    asking = threading.Thread(target=lambda: slow.append(_ask_the_new(fragile)))
    with Load(fragile.url) as load:
        asking.start()
        fragile.publish("MOOD_NOW=task-dies")
        wait_until(lambda: (fragile.directory / "slow.begun").exists())
        refused = wait_until(lambda: fragile.status()["refused"])
        count = len(load.answers)
        wait_until(lambda: len(load.answers) > count + 50)
        assert load.answers[-1].body["mood"] == "dies-once"
    assert "task.0@3" in refused["problems"][0]["message"]
    assert load.failures == []
    # And what one of them has accepted is answered although its generation has gone
    (fragile.directory / "slow.ends").touch()
    asking.join(PATIENCE)
    assert slow == [{"mood": "task-dies"}]


def _ask_the_new(platform: Platform) -> Any:
    """Ask until a worker of the new generation has the request."""
    while True:
        answer = httpx.get(f"{platform.url}/slow", timeout=PATIENCE)
        if answer.status_code == 200:
            return answer.json()


def test_a_release_whose_workers_crash_later_is_rolled_back_and_poison_is_borne(
    fragile: Platform,
) -> None:
    """D10, E3: a release whose workers crash some time after their start does not become the last
    good one, and takes no newer release with it; a worker that served and is killed by a request is
    replaced at once, each time."""
    fragile.environment["PLATFORM_PROBATION"] = "3"
    fragile.start()
    wait_until(lambda: not fragile.status()["on_probation"])
    good = fragile.status()["config"]["good"]
    fragile.publish("MOOD_NOW=dies-later")
    wait_until(lambda: fragile.status()["generation"] == 3, deadline=2 * PATIENCE)
    status = wait_until(lambda: _settled(fragile))
    assert status["refused"]["outcome"] == "rolled back"
    assert "web workers ended" in status["refused"]["problems"][0]["message"]
    assert status["config"]["good"] == good
    # Given a release that fails its probation while the workers of the next one are prepared
    fragile.publish("MOOD_NOW=dies-with-the-next")
    wait_until(lambda: fragile.status()["generation"] == 4)
    fragile.publish("MOOD_NOW=mends")
    wait_until(lambda: _gone_back_from(fragile, 4), deadline=2 * PATIENCE)
    (fragile.directory / "next.goes").touch()
    wait_until(lambda: httpx.get(fragile.url).json()["mood"] == "mends")
    wait_until(lambda: not fragile.status()["on_probation"])
    # Given a request that kills its worker, again and again, long after the probation
    with Load(fragile.url, ways=("fresh",)) as load:
        for _ in range(8):
            count = len(load.answers)
            wait_until(lambda: _kills(fragile), interval=0.05)
            wait_until(lambda: len(load.answers) > count + 10)  # noqa: B023
        status = fragile.status()
        assert status["state"] == "degraded"
        (reason,) = [r for r in status["reasons"] if "crashing" in r]
        assert reason.startswith("web workers keep crashing: ")
        assert reason.endswith("the last one exited with 9; each is replaced at once")
    assert "backoff" not in fragile.output()
    wait_until(lambda: len(fragile.pids("web.")) == 2)


def _settled(platform: Platform) -> Any:
    status = platform.status()
    return status if status.get("refused") and not status["coming"] else None


def _gone_back_from(platform: Platform, number: int) -> bool:
    refused = platform.status()["refused"]
    sentence = f"Generation {number} was rolled back"
    return bool(refused) and sentence in refused["problems"][0]["message"]


def _kills(platform: Platform) -> bool:
    """Send the request that kills a worker which is old enough; say whether it did."""
    try:
        httpx.get(f"{platform.url}/die", timeout=PATIENCE)
    except httpx.TransportError:
        return True
    return False


def test_a_store_that_is_killed_again_and_again_is_back_each_time_before_a_caller_gives_up(
    fragile: Platform,
) -> None:
    """D9: platform slots that were up are restarted within a second; a queue that is full is
    answered with 503 and a time to try again."""
    fragile.environment["PLATFORM_QUEUES"] = "narrow waiting=1"
    fragile.start()
    with Load(fragile.url, "/deliver", "POST", clients=1, ways=("fresh",)) as load:
        for _ in range(7):
            store = fragile.pids("store.")["store.0@0"]
            fragile.kill(store)
            wait_until(lambda: fragile.pids("store.").get("store.0@0", store) != store)  # noqa: B023
            count = len(load.answers)
            wait_until(lambda: len(load.answers) > count + 5)  # noqa: B023
    assert load.failures == []
    assert {answer.status for answer in load.answers} == {200}
    assert httpx.post(f"{fragile.url}/later").status_code == 200
    refused = httpx.post(f"{fragile.url}/later")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "The queue narrow is full" in fragile.output()
