"""A generation that came up and does not hold is rolled back by itself, once."""

import pytest
from dotenv import dotenv_values

from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until

MOODY = """
import os
from contextlib import asynccontextmanager
from skep import Plugin, Settings, Worker
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

class MoodSettings(Settings, prefix="MOOD_"):
    now: str = "good"

@asynccontextmanager
async def life():
    mood = MoodSettings.current().now
    if mood == "exits while it starts":
        os._exit(9)
    yield

async def ready():
    return "sulking" if MoodSettings.current().now == "unready" else ""

async def show(request: Request):
    if MoodSettings.current().now == "crashes":
        os._exit(9)
    worker = Worker.current()
    return JSONResponse({"mood": MoodSettings.current().now, "generation": worker.generation})

plugin = Plugin(routes=[Route("/", show)], settings=[MoodSettings], lifespan=life, ready=ready)
"""


@pytest.fixture
def moody(platform: Platform) -> Platform:
    (platform.plugins / "moody.py").write_text(MOODY)
    platform.publish_sample("MOOD_NOW = good\n")
    return platform.start()


def test_a_release_that_kills_its_workers_at_boot_never_serves(moody: Platform) -> None:
    """Configuration, case 17."""
    file, pids = moody.env_file.read_bytes(), moody.pids()
    with Load(moody.url) as load:
        moody.publish("MOOD_NOW=exits while it starts")
        refused = wait_until(lambda: moody.status()["refused"])
        assert "exited with 9" in refused["problems"][0]["message"]
        assert moody.env_file.read_bytes() == file
        # The others of the new generation may still be on their way out
        wait_until(lambda: moody.pids() == pids)
        moody.publish("MOOD_NOW=better")
        wait_until(lambda: moody.get()["mood"] == "better")
    assert load.failures == []
    assert {body["mood"] for body in load.bodies()} == {"good", "better"}
    wait_until(lambda: moody.status()["refused"] is None)


@pytest.mark.parametrize(("mood", "why"), [("unready", "ready"), ("crashes", "ended")])
def test_a_generation_that_does_not_hold_is_rolled_back(
    moody: Platform, mood: str, why: str
) -> None:
    """Configuration, case 18; lifecycle, case 24."""
    before = dict(dotenv_values(moody.env_file))
    with Load(moody.url) as load:
        moody.publish(f"MOOD_NOW={mood}")
        wait_until(lambda: moody.status()["generation"] == 3, deadline=30)
        wait_until(lambda: load.answers[-1].body == {"mood": "good", "generation": 3})
    if mood == "unready":
        assert load.failures == []
    # What was in force before is in force again, and the reason is told
    assert dotenv_values(moody.env_file) == before
    refused = moody.status()["refused"]
    assert refused["outcome"] == "rolled back"
    assert why in refused["problems"][0]["message"]
    metrics = moody.metrics()
    assert 'platform_config_applies_total{outcome="rolled_back"} 1' in metrics
    assert "platform_config_quarantined 1" in metrics
    # The same is not tried again by itself; the next release is
    moody.publish(f"MOOD_NOW={mood}")
    moody.publish("MOOD_NOW=fine")
    wait_until(lambda: moody.get()["mood"] == "fine", deadline=30)
    wait_until(lambda: moody.status()["refused"] is None)


def test_a_generation_that_went_wrong_with_its_code_is_rolled_back_to_the_code_before(
    moody: Platform,
) -> None:
    file = moody.plugins / "moody.py"
    good = file.read_text()
    file.write_text(good.replace('return "sulking" if', 'return "broken" if True or'))
    with Load(moody.url, clients=1) as load:
        assert moody.cli("reload").returncode == 0
        wait_until(lambda: moody.status()["generation"] == 3, deadline=30)
    assert 2 in {body["generation"] for body in load.bodies()}
    wait_until(lambda: moody.status()["state"] == "running")
    # A worker that dies now is born with the old code, though the disk holds the new
    moody.kill(moody.pids()["web.0@3"])
    wait_until(lambda: "web.0@3" in moody.pids() and moody.status()["state"] == "running")
    assert moody.status()["refused"]["outcome"] == "rolled back"
