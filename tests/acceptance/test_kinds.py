"""A machine that runs some kinds of workers only."""

from pathlib import Path

import pytest

from tests.platform_process import Platform
from tests.support import wait_until

PLUGIN = """
from pathlib import Path
from skep import Plugin, Process, Task, cron
from starlette.responses import JSONResponse
from starlette.routing import Route

class Chore(Task):
    async def handle(self, ctx):
        Path("chore.done").touch()

@cron(every=0.2)
async def tick(tick):
    Path("ticked").touch()

class Beat(Process):
    async def run(self, ctx):
        Path("beaten").touch()
        await ctx.stopping.wait()

async def show(request):
    return JSONResponse({})

plugin = Plugin(routes=[Route("/", show)], tasks=[Chore], crons=[tick], processes=[Beat])
"""


def kinds(platform: Platform) -> set[str]:
    """Return the kinds of the workers of generations that are there."""
    return {name.partition(".")[0] for name in platform.pids() if not name.endswith("@0")}


def test_a_machine_runs_the_kinds_it_is_to_run_and_says_which_it_does_not(
    platform: Platform,
) -> None:
    """B12: PLATFORM_KINDS chooses what runs here; 0 workers of a kind is possible, none of any
    kind that accepts is too, and `status` says what this machine does not run."""
    (platform.plugins / "chores.py").write_text(PLUGIN)
    platform.publish_sample("PLATFORM_KINDS = task\n")
    platform.start()
    assert kinds(platform) == {"task"}
    status = platform.status()
    assert (status["state"], status["left_out"]) == ("running", ["web", "cron", "process"])
    # No port is bound at which nobody would answer
    assert set(status["listeners"]) == {"admin", "config"}
    text = platform.cli("status").stdout
    assert "not run here  web, cron, process (left out by PLATFORM_KINDS or PLATFORM_CRON)" in text
    done = platform.cli("scale", "web=3")
    assert done.returncode != 0
    assert "This machine runs no web workers: PLATFORM_KINDS leaves them out." in done.stderr
    assert platform.cli("task", "send", "chores.Chore").returncode == 0
    wait_until(Path(platform.directory / "chore.done").exists)
    assert not (platform.directory / "ticked").exists()
    assert not (platform.directory / "beaten").exists()
    # A timer alone: no worker of a generation accepts, and there is nothing to wait for
    platform.publish("PLATFORM_KINDS=cron")
    wait_until(Path(platform.directory / "ticked").exists)
    wait_until(lambda: kinds(platform) == {"cron"})
    platform.publish("PLATFORM_KINDS=web,process")
    wait_until(Path(platform.directory / "beaten").exists)
    wait_until(lambda: kinds(platform) == {"web", "process"})
    platform.wait_ready()
    assert platform.get() == {}
    # And what is no kind is refused by its name
    platform.publish("PLATFORM_KINDS=web,crons")
    refused = wait_until(lambda: platform.status()["refused"])
    message = refused["problems"][0]["message"]
    assert (
        "PLATFORM_KINDS is 'crons'; it takes one or more of: web, task, cron, process." in message
    )


@pytest.mark.parametrize("value", ["", "web,,crons", "Web"])
def test_a_start_with_no_kind_or_an_unknown_one_is_refused(platform: Platform, value: str) -> None:
    """B12: a machine that would run nothing is a mistake."""
    platform.environment["PLATFORM_KINDS"] = value
    done = platform.cli("start")
    assert done.returncode == 2
    assert "PLATFORM_KINDS is " in done.stderr
    assert "it takes one or more of: web, task, cron, process." in done.stderr
