"""PLATFORM_CRONS: the configuration times, adds and switches off crons of plugins."""

import json
from typing import Any

import pytest

from tests.platform_process import Platform
from tests.support import wait_until

PLUGIN = """
from pathlib import Path
from skep import CronJob, Plugin, cron

def mark(name):
    with open(name, "a") as file:
        file.write("x")

class Beat(CronJob):
    every = "1h"
    async def run(self, tick):
        mark("beat")

@cron("0 0 1 1 *")
def yearly(tick):
    mark("yearly")

class Spare(CronJob):
    def run(self, tick):
        mark("spare")

plugin = Plugin(crons=[Beat, yearly])
"""


def crons(*entries: Any) -> str:
    return f"PLATFORM_CRONS={json.dumps(entries)}"


def runs(platform: Platform, name: str) -> int:
    path = platform.directory / name
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_configuration_chooses_among_the_crons_of_plugins(
    platform: Platform, method: str
) -> None:
    (platform.plugins / "clock.py").write_text(PLUGIN)
    platform.environment["PLATFORM_START_METHOD"] = method
    platform.publish_sample(
        crons(
            ["clock.Beat", [20, True]],
            {"class": "clock.Spare", "schedule": "* * * * * *"},
        )
    )
    platform.start()
    wait_until(lambda: runs(platform, "beat") > 2 and runs(platform, "spare") > 0)
    info = json.loads(platform.cli("info", "--json").stdout)
    assert info["running"]["plan"]["crons"] == ["clock.Beat", "clock.yearly", "clock.Spare"]
    # A mistake refuses the generation, and the one before goes on
    platform.publish(crons("clock.Spare", {"class": "clock.Beat", "schedule": "60 * * * *"}, "x.Y"))
    refused = wait_until(lambda: platform.status()["refused"])
    text = "\n".join(problem["message"] for problem in refused["problems"])
    for said in (
        "PLATFORM_CRONS, 'clock.Spare': it has no time of its own",
        "PLATFORM_CRONS, 'clock.Beat': ",
        "60 * * * *",
        "PLATFORM_CRONS, 'x.Y': no module of a loaded plugin defines such a cron",
    ):
        assert said in text
    platform.publish('PLATFORM_CRONS="clock.Beat"')
    wait_until(lambda: "is not a list" in str(platform.status()["refused"]))
    before = runs(platform, "beat")
    wait_until(lambda: runs(platform, "beat") > before)
    # Without any cron there is no timer
    off = [{"class": name, "enabled": False} for name in ("clock.Beat", "clock.yearly")]
    platform.publish(crons(*off))
    wait_until(lambda: not any(name.startswith("cron.") for name in platform.pids()))
