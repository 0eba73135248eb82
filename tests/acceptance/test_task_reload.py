"""`platform reload --task-only`: new task workers within a generation, as an operator sees it."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.workbench import Workbench, workbench
from tests.load import Load
from tests.support import wait_until

MOODY = """
from contextlib import asynccontextmanager
from pathlib import Path
from skep import Plugin, Worker

@asynccontextmanager
async def life():
    if Path("broken").exists() and Worker.current().slot.startswith("task."):
        raise RuntimeError("not in this mood")
    yield

plugin = Plugin(lifespan=life)
"""


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    directory = tmp_path_factory.mktemp("moody")
    plugin = directory / "moody.py"
    plugin.write_text(MOODY)
    queues = "media workers=1 concurrency=2"
    with workbench(directory, plugins=[plugin], PLATFORM_QUEUES=queues) as made:
        yield made


def test_task_workers_are_replaced_alone_and_nothing_of_the_work_is_lost_or_doubled(
    bench: Workbench,
) -> None:
    """Lifecycle, case 38."""
    platform = bench.platform
    before = platform.pids()
    tasks = {pid for name, pid in before.items() if name.startswith("task.")}
    assert len(tasks) == 3
    bench.deliver("Work", *({"name": f"w{n}", "seconds": n % 10 / 5} for n in range(200)))
    wait_until(lambda: len(bench.names("start")) > 20)
    # When it returns, every task worker that takes tasks is new, and nobody else is
    with Load(platform.url, "/bench/none", clients=1) as load:
        report = bench.verb("reload", "--task-only")
        slots = platform.status()["slots"]
        taking = {
            x["pid"] for x in slots if x["slot"].startswith("task.") and x["state"] == "ready"
        }
        assert len(taking) == 3
        assert not taking & tasks
        # Then the old ones end, and everything that was delivered ends once
        wait_until(lambda: set(platform.pids("task.").values()) == taking)
        # The cron at the start has delivered one more
        wait_until(lambda: len(bench.names("end")) >= 201, deadline=30)
    assert (report["outcome"], report["generation"]) == ("replaced", 1)
    assert sorted(report["workers"]) == ["task.0", "task.1", "task.media.0"]
    assert load.failures == []
    assert set(Counter(bench.names("start")).values()) == {1}
    assert set(Counter(bench.names("end")).values()) == {1}
    after = platform.pids()
    others = {name: pid for name, pid in before.items() if not name.startswith("task.")}
    assert {k: v for k, v in after.items() if not k.startswith("task.")} == others
    # It is in the history, with who asked; --no-wait begins it and returns
    begun = platform.cli("reload", "--task-only", "--no-wait")
    assert (begun.returncode, "history" in begun.stdout) == (0, True)
    wait_until(lambda: not set(platform.pids("task.").values()) & taking)

    def reloads() -> list[Any]:
        return [entry for entry in bench.verb("history") if entry["what"] == "reload"]

    wait_until(lambda: len(reloads()) == 2)
    entries = reloads()
    assert [(e["outcome"], e["reason"]) for e in entries] == [
        ("replaced", "platform reload --task-only")
    ] * 2
    assert f"uid {os.getuid()}" in entries[0]["requester"]


def test_a_task_worker_that_does_not_come_up_ends_the_replacement_and_the_old_ones_go_on(
    bench: Workbench,
) -> None:
    platform = bench.platform
    before = platform.pids()
    (platform.directory / "broken").write_text("")
    refused = platform.cli("reload", "--task-only")
    assert refused.returncode == 1
    assert "not in this mood" in refused.stderr
    assert "task.0, task.1, task.media.0 of the old ones go on" in refused.stderr
    # Nothing of the attempt is left, and the old ones work
    wait_until(lambda: platform.pids() == before)
    bench.deliver("Work", {"name": "after"})
    bench.wait("end", "after")
    entry = bench.verb("history")[-1]
    assert (entry["outcome"], "not in this mood" in entry["problems"][0]) == ("refused", True)
    # Once it is mended, it goes; drained there is nothing to replace
    (platform.directory / "broken").unlink()
    assert json.loads(platform.cli("reload", "--task-only", "--json").stdout)["generation"] == 1
    assert platform.cli("drain").returncode == 0
    drained = platform.cli("reload", "--task-only")
    assert (drained.returncode, "undrain" in drained.stderr) == (1, True)
    assert platform.process is not None
    platform.process.send_signal(signal.SIGTERM)
    assert platform.wait_end() == 0
