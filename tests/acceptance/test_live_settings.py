"""What can change without a rollout does, in every worker at once; what cannot is a rollout."""

import threading
from pathlib import Path

import httpx
import pytest
from dotenv import dotenv_values

from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until

DIAL = """
import asyncio, os
from pathlib import Path
from skep import Live, Plugin, Settings, Task, Worker
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

FOLDER = Path(os.environ["PLATFORM_DATA_DIR"])
READ_AT_IMPORT = os.environ.get("READ_AT_IMPORT", "")

def note(file, what):
    with (FOLDER / file).open("a") as out:
        out.write(what + "\\n")

class DialSettings(Settings, prefix="DIAL_"):
    level: Live[int] = 1
    label: Live[str] = "one"
    name: str = "dial"

    @classmethod
    async def on_change(cls, old, new, changed):
        note("changes", f"{Worker.current().name} {sorted(changed)} {old.level}>{new.level}")
        if new.level == 13:
            raise RuntimeError("unlucky")

class Slow(Task):
    async def handle(self, ctx):
        before = DialSettings.current()
        note("slow", "begin")
        await asyncio.sleep(1.5)
        after = DialSettings.current()
        note("slow", f"{before.level} {after.level}")

async def show(request: Request):
    dial = DialSettings.current()
    return JSONResponse({
        "level": dial.level, "label": dial.label, "name": dial.name, "pid": os.getpid(),
    })

async def slow(request: Request):
    before = DialSettings.current().level
    note("slow", "begin")
    await asyncio.sleep(1.5)
    return JSONResponse({"before": before, "after": DialSettings.current().level})

async def env(request: Request):
    return JSONResponse({"value": os.environ.get(request.path_params["key"]), "pid": os.getpid()})

async def deliver(request: Request):
    await Slow().deliver()
    return JSONResponse({})

plugin = Plugin(
    routes=[
        Route("/", show), Route("/slow", slow), Route("/env/{key}", env),
        Route("/deliver", deliver, methods=["POST"]),
    ],
    tasks=[Slow],
    settings=[DialSettings],
)
"""


@pytest.fixture
def dial(platform: Platform) -> Platform:
    (platform.plugins / "dial.py").write_text(DIAL)
    return platform.start()


@pytest.fixture(scope="module")
def shared_dial(shared: Platform) -> Platform:
    """A platform of which a test knows neither the generation nor the level."""
    (shared.plugins / "dial.py").write_text(DIAL)
    return shared.start()


@pytest.fixture
def turned(shared_dial: Platform) -> Platform:
    """The same when nothing is under way: every worker ready, one generation, level 1."""
    wait_until(lambda: is_at_rest(shared_dial))
    if not level_everywhere(shared_dial, 1):
        publish_live(shared_dial, "DIAL_LEVEL=1")
    assert level_everywhere(shared_dial, 1)
    return shared_dial


def publish_live(platform: Platform, *assignments: str) -> None:
    """Publish, and wait until every worker has what was published."""
    before = platform.status()["last_rollout"]["at"]
    platform.publish(*assignments)
    last = wait_until(lambda: (last := platform.status()["last_rollout"])["at"] != before and last)
    assert last["outcome"] == "live"


def is_at_rest(platform: Platform) -> bool:
    """Whether no rollout is under way and no worker of an old generation is left."""
    status = platform.status()
    slots = [slot for slot in status["slots"] if slot["generation"]]
    return (
        not status["coming"]
        and {slot["state"] for slot in slots} == {"ready"}
        and {slot["generation"] for slot in slots} == {status["generation"]}
    )


def lines(platform: Platform, name: str) -> list[str]:
    file = platform.data_dir / name
    return file.read_text().splitlines() if file.exists() else []


def level_everywhere(platform: Platform, level: int) -> bool:
    """Whether all web workers answer with this level; several connections, to meet them all."""
    answers = [platform.get() for _ in range(12)]
    pids = {answer["pid"] for answer in answers}
    return len(pids) == 2 and {answer["level"] for answer in answers} == {level}


def test_a_live_field_changes_in_every_worker_and_no_process_does(dial: Platform) -> None:
    """Configuration, case 22."""
    pids = dial.pids()
    with Load(dial.url) as load:
        dial.publish("DIAL_LEVEL=2", "DIAL_LABEL=two")
        wait_until(lambda: level_everywhere(dial, 2))
        # The web workers have it a little before all others have said so
        wait_until(lambda: dial.status()["last_rollout"]["outcome"] == "live")
    assert load.failures == []
    # Both fields changed together: nobody saw one without the other
    assert {(b["level"], b["label"]) for b in load.bodies()} <= {(1, "one"), (2, "two")}
    assert dial.pids() == pids
    assert dial.status()["generation"] == 1
    assert {slot["state"] for slot in dial.status()["slots"]} == {"ready"}
    assert dotenv_values(dial.env_file)["DIAL_LEVEL"] == "2"
    assert 'platform_config_applies_total{outcome="live"} 1' in dial.metrics()
    # The callback ran once in each worker
    told = sorted(line.split()[0] for line in lines(dial, "changes"))
    assert told == ["task.0@1", "web.0@1", "web.1@1"]
    assert all("['label', 'level'] 1>2" in line for line in lines(dial, "changes"))


def test_a_worker_that_is_born_after_a_live_change_has_it(dial: Platform) -> None:
    dial.publish("DIAL_LEVEL=2")
    wait_until(lambda: dial.status()["last_rollout"]["outcome"] == "live")
    before = dial.pids()["web.0@1"]
    dial.kill(before)
    wait_until(lambda: dial.pids().get("web.0@1") not in (None, before))
    wait_until(lambda: level_everywhere(dial, 2))
    # Also when it is born of an understudy, or of a fresh zygote
    for pid in dial.zygotes():
        dial.kill(pid)
    wait_until(lambda: len(dial.zygotes()) == 2)
    before = dial.pids()["web.1@1"]
    dial.kill(before)
    wait_until(lambda: dial.pids().get("web.1@1") not in (None, before))
    wait_until(lambda: level_everywhere(dial, 2))


def test_any_other_field_is_a_rollout(dial: Platform) -> None:
    """Configuration, case 22."""
    pids = dial.pids("web.")
    dial.publish("DIAL_NAME=other", "DIAL_LEVEL=2")
    wait_until(lambda: dial.status()["generation"] == 2)
    assert dial.get()["name"] == "other"
    assert dial.get()["level"] == 2
    wait_until(lambda: not set(pids.values()) & set(dial.pids("web.").values()))
    assert lines(dial, "changes") == []


def test_a_key_nobody_has_read_is_set_and_restarts_nothing(turned: Platform) -> None:
    """Configuration, case 22."""
    pids, generation = turned.pids(), turned.status()["generation"]
    publish_live(turned, "NEVER_READ=here")
    assert turned.pids() == pids
    assert turned.get("/env/NEVER_READ")["value"] == "here"
    # Now it has been read, and whoever has read it may keep what it was
    turned.publish("NEVER_READ=again")
    wait_until(lambda: turned.status()["generation"] == generation + 1)
    # An old worker may still take a request that came before it was told to drain.
    wait_until(lambda: turned.get("/env/NEVER_READ")["value"] == "again")


def test_a_key_that_was_read_while_the_plugin_was_imported_is_a_rollout(turned: Platform) -> None:
    generation = turned.status()["generation"]
    turned.publish("READ_AT_IMPORT=x")
    wait_until(lambda: turned.status()["generation"] == generation + 1)


def test_a_live_value_that_does_not_fit_is_refused_and_nothing_is_touched(
    turned: Platform,
) -> None:
    pids, file = turned.pids(), turned.env_file.read_bytes()
    turned.publish("DIAL_LEVEL=high")
    refused = wait_until(lambda: turned.status()["refused"])
    assert "DIAL_LEVEL" in refused["problems"][0]["message"]
    assert (turned.pids(), turned.env_file.read_bytes()) == (pids, file)
    assert level_everywhere(turned, 1)
    turned.publish("DIAL_LEVEL=3")
    wait_until(lambda: level_everywhere(turned, 3))
    assert turned.pids() == pids


def test_a_callback_that_fails_makes_it_a_rollout(dial: Platform) -> None:
    dial.publish("DIAL_LEVEL=13")
    wait_until(lambda: dial.status()["generation"] == 2)
    wait_until(lambda: level_everywhere(dial, 13))
    assert "unlucky" in dial.output()


def test_a_request_and_a_task_see_one_version_from_their_beginning_to_their_end(
    turned: Platform,
) -> None:
    answers: list[dict[str, int]] = []
    client = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{turned.url}/slow", timeout=20).json())
    )
    client.start()
    httpx.post(f"{turned.url}/deliver").raise_for_status()
    wait_until(lambda: lines(turned, "slow").count("begin") == 2)
    turned.publish("DIAL_LEVEL=2")
    wait_until(lambda: level_everywhere(turned, 2))
    client.join()
    assert answers == [{"before": 1, "after": 1}]
    wait_until(lambda: "1 1" in lines(turned, "slow"))


def test_the_number_of_workers_follows_the_configuration_without_a_failed_request(
    dial: Platform,
) -> None:
    del dial.environment["PLATFORM_WEB_WORKERS"]
    dial.stop()
    (dial.samples / "x").mkdir(parents=True)
    dial.start()
    old = dial.pids()
    with Load(dial.url) as load:
        dial.publish("PLATFORM_WEB_WORKERS=4")
        wait_until(lambda: len(dial.pids("web.")) == 4)
        wait_until(lambda: len({a.body["pid"] for a in load.answers}) == 4)
        dial.publish("PLATFORM_WEB_WORKERS=1")
        wait_until(lambda: len(dial.pids("web.")) == 1)
        count = len(load.answers)
        wait_until(lambda: len(load.answers) > count + 50)
    assert load.failures == []
    assert dial.status()["generation"] == 1
    assert dial.pids()["task.0@1"] == old["task.0@1"]
    assert dial.pids()["web.0@1"] == old["web.0@1"]


def test_the_log_level_follows_the_configuration(dial: Platform) -> None:
    """Lifecycle, case 16."""
    pids = dial.pids()
    assert "debug:" not in dial.output()
    dial.publish("PLATFORM_LOG_LEVEL=debug")
    wait_until(lambda: dial.status()["last_rollout"]["outcome"] == "live")
    assert dial.pids() == pids
    dial.kill(pids["web.0@1"])
    wait_until(lambda: "debug: web.0@1 is ready" in dial.output())


def test_a_change_that_takes_a_restart_is_told_and_touches_nobody(turned: Platform) -> None:
    pids = turned.pids()
    turned.publish("PLATFORM_CONFIG_TIMEOUT=11")
    wait_until(lambda: turned.status()["restart_required"] == ["PLATFORM_CONFIG_TIMEOUT"])
    assert turned.pids() == pids
    assert "platform_supervisor_restart_required 1" in turned.metrics()
    assert Path(turned.env_file).read_text().count("PLATFORM_CONFIG_TIMEOUT") == 1
