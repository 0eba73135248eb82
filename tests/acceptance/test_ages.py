"""Code of different age side by side: what newer code delivers, and what outlives a rollout."""

from collections.abc import Iterator
from typing import Any

import pytest

from skep.engine.contract import DeliveryRow
from tests.acceptance.workbench import Workbench, workbench
from tests.support import wait_until

OLD = """
import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from starlette.responses import JSONResponse
from starlette.routing import Route
from plugins.bench import write
from skep import Plugin, Task, Worker

class Grows(Task):
    name: str

    async def handle(self, ctx):
        write("grown", self.name, generation=ctx.generation)

class Marathon(Task):
    name: str
    drain = 3600

    async def handle(self, ctx):
        write("start", self.name, generation=ctx.generation)
        while not Path(f"gate {self.name}").exists():
            await asyncio.sleep(0.02)
        write("end", self.name, generation=ctx.generation)

class Sisyphus(Task):
    name: str
    queue = "hill"

    async def handle(self, ctx):
        write("start", self.name, generation=ctx.generation)
        await asyncio.Event().wait()

async def deliver(request):
    cls = {"Marathon": Marathon, "Sisyphus": Sisyphus}[request.path_params["task"]]
    receipt = await cls(name=request.path_params["name"]).deliver()
    return JSONResponse(receipt.id)

@asynccontextmanager
async def life():
    yield

plugin = Plugin(
    routes=[Route("/ages/{task}/{name}", deliver, methods=["POST"])],
    tasks=[Grows, Marathon, Sisyphus],
    lifespan=lambda: life(),
)
"""
NEW = OLD.replace(
    """
    async def handle(self, ctx):
        write("grown", self.name, generation=ctx.generation)
""",
    """    colour: str
    size: int = 1

    async def handle(self, ctx):
        write("grown", self.name, generation=ctx.generation, colour=self.colour, size=self.size)
        return self.size

    async def finish(self, result, ctx):
        write("finish", self.name, result=result)
""",
).replace(
    """
async def life():
""",
    """
async def life():
    if Worker.current().slot == "web.0" and not Path("open").exists():
        receipt = await Grows(name="new", colour="red", size=9).deliver()
        Path("delivered.tmp").write_text(receipt.id)
        Path("delivered.tmp").rename("delivered")
        while not Path("open").exists():
            await asyncio.sleep(0.02)
""",
)
FALLS = (
    NEW.replace(
        """
    size: int = 1
""",
        """
    size: int = 1
    weight: int = 1
""",
    )
    .replace(
        """
async def life():
""",
        """
async def life():
    async def fall():
        while not Path("fall").exists():
            await asyncio.sleep(0.02)
        os._exit(9)

    if Worker.current().slot == "web.0":
        if not Path("fall").exists():
            receipt = await Grows(name="heavy", colour="red", weight=5).deliver()
            Path("heavy").write_text(receipt.id)
        falling = asyncio.create_task(fall())
""",
    )
    .replace("import asyncio\n", "import asyncio, os\n")
)


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    directory = tmp_path_factory.mktemp("ages")
    plugin = directory / "ages.py"
    plugin.write_text(OLD)
    with workbench(
        directory,
        plugins=[plugin],
        PLATFORM_DRAIN_TIMEOUT="1",
        PLATFORM_QUEUES="hill cuts=2",
        PLATFORM_TASK_WORKERS="1",
        PLATFORM_WEB_WORKERS="1",
    ) as made:
        yield made


def deliver(bench: Workbench, task: str, name: str) -> str:
    delivery: str = bench.post(f"../ages/{task}/{name}", {})
    bench.wait("start", name)
    return delivery


def known(bench: Workbench, delivery: str) -> DeliveryRow:
    row = bench.find(delivery)
    assert row is not None
    return row


def reload(bench: Workbench) -> None:
    done = bench.platform.cli("reload")
    assert done.returncode == 0, done.stderr


def test_work_of_different_age_goes_to_whom_it_belongs(bench: Workbench) -> None:
    """A9: a worker gives back what a newer generation delivered, instead of dropping its fields;
    one that was put back by a rollback drops none either.
    A10: a task may outlive rollouts in its own time; one that is cut off is counted, and given up.
    """
    platform = bench.platform
    marathon = deliver(bench, "Marathon", "m1")
    sisyphus = deliver(bench, "Sisyphus", "s1")
    # While the new code comes up, it delivers what the old workers cannot represent
    (platform.plugins / "ages.py").write_text(NEW)
    assert platform.cli("reload", "--no-wait").returncode == 0
    delivered = platform.directory / "delivered"
    assert wait_until(lambda: delivered.exists()), platform.output()
    new = delivered.read_text()
    wait_until(lambda: (it := bench.find(new)) and it.state == "scheduled")
    row = known(bench, new)
    assert (row.attempt, row.losses, row.cuts) == (1, 0, 0)
    assert bench.verb("task", "show", new)["sender"]["generation"] == 2
    (platform.directory / "open").touch()
    (grown,) = bench.wait("grown", "new")
    assert (grown["generation"], grown["colour"], grown["size"]) == (2, "red", 9)
    (finish,) = bench.wait("finish", "new")
    assert finish["result"] == 9
    # And what was cut off begins again, counted, until that was once too often
    bench.wait("start", "s1", 2)
    assert bench.verb("task", "show", sisyphus)["cuts"] == 1
    reload(bench)
    shown: dict[str, Any] = wait_until(
        lambda: (it := bench.verb("task", "show", sisyphus))["state"] == "dead" and it
    )
    assert (shown["reason"], shown["cuts"], shown["attempt"], shown["losses"]) == (
        "cut_off",
        2,
        1,
        0,
    )
    assert "begun and cut off 2 times" in shown["error"]
    wait_until(
        lambda: 'task_cut_offs_total{queue="hill",task="ages.Sisyphus"} 2' in platform.metrics()
    )
    # And what has a time of its own has gone on, through both rollouts
    assert [entry["generation"] for entry in bench.diary("start", "m1")] == [1]
    assert "task.0@1" in platform.pids("task")
    (platform.directory / "gate m1").touch()
    (end,) = bench.wait("end", "m1")
    assert end["generation"] == 1
    wait_until(lambda: list(platform.pids("task")) == ["task.0@3"])
    assert bench.find(marathon) is None
    # And after a rollback the older code runs nothing of the newer one with fields left out
    assert platform.cli("queue", "pause", "default").returncode == 0
    (platform.plugins / "ages.py").write_text(FALLS)
    reload(bench)
    (platform.directory / "fall").touch()
    wait_until(lambda: platform.status()["generation"] == 5)
    (platform.plugins / "ages.py").write_text(NEW)
    assert platform.cli("queue", "resume", "default").returncode == 0
    heavy = (platform.directory / "heavy").read_text()
    shown = wait_until(lambda: (it := bench.verb("task", "show", heavy))["state"] == "dead" and it)
    assert shown["reason"] == "undecodable"
    assert "weight" in shown["error"]
    # And a stop waits for none of them longer than for other work, and cuts them off in order
    second = deliver(bench, "Marathon", "m2")
    reload(bench)
    third = deliver(bench, "Marathon", "m3")
    assert platform.cli("stop").returncode == 0
    assert platform.wait_end() == 0
    platform.start()
    for delivery in (second, third):
        row = known(bench, delivery)
        assert (row.cuts, row.losses, row.attempt) == (1, 0, 1)
