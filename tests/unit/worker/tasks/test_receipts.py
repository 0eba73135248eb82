"""What one who has delivered can do with the receipt, with a real store."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from skep.api.plugin import Plugin
from skep.api.tasks.context import Context
from skep.api.tasks.decorators import task
from skep.api.tasks.payload import Receipt, TaskCancelled, TaskFailed
from skep.api.tasks.task import Task, gather
from skep.base.errors import EngineError
from skep.engine import binding
from tests.support import wait_until_async
from tests.workshop import Workshop, run_workshop

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


class Double(Task):
    n: int
    keep_result = 60

    async def handle(self, ctx: Context) -> int:
        if self.n < 0:
            raise ValueError("negative")
        return 2 * self.n

    async def finish(self, result: int, ctx: Context) -> None:
        LOG.append(result)


class Waits(Task):
    """Is at work until it is let go."""

    name: str
    unique = "{name}"
    concurrency_key = "waits"
    concurrency = 2
    keep_result = 60
    go: ClassVar[asyncio.Event]

    async def handle(self, ctx: Context) -> None:
        LOG.append(self.name)
        ctx.progress({"at": 1})
        ctx.progress({"at": 2})
        await Waits.go.wait()

    async def finish(self, result: None, ctx: Context) -> None:
        LOG.append(f"{self.name} finished")


@task(unique="{n}", unique_for=60)
async def rarely(ctx: Context, n: int) -> None:
    LOG.append(n)


PLUGIN = Plugin(tasks=[Double, Waits, rarely])


def run(directory: Path, test: Any, **options: Any) -> None:
    Waits.go = asyncio.Event()
    run_workshop(directory, PLUGIN, test, **options)


async def _begun(*names: str) -> None:
    await wait_until_async(lambda: set(names) <= set(LOG))


def test_a_result_can_be_waited_for(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Double(n=21).deliver()
        assert await receipt.result(timeout=20) == 42
        assert await receipt.result() == 42
        assert await asyncio.to_thread(receipt.result_sync, 5) == 42
        assert await gather(*(Double(n=n) for n in range(20)), timeout=20) == list(range(0, 40, 2))
        await shop.done()

    run(tmp_path, test)


def test_what_has_no_result_says_why(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        with pytest.raises(TaskFailed, match="ValueError: negative"):
            await (await Double(n=-1).deliver()).result(5)
        with pytest.raises(EngineError, match="is not known here"):
            await (await rarely.deliver(n=1)).result(5)
        with pytest.raises(EngineError, match="is not known here"):
            await Receipt("0" * 32).result(5)
        with pytest.raises(EngineError, match=r"test_receipts\.rarely keeps no result"):
            await gather(rarely(n=2))
        waiting = await Waits(name="a").deliver()
        with pytest.raises(TimeoutError, match=waiting.id):
            await waiting.result(0.05)
        Waits.go.set()

    run(tmp_path, test)


def test_of_the_same_key_one_is_kept_at_a_time(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        first = await Waits(name="a").deliver()
        await _begun("a")
        again = await Task.deliver_many([Waits(name="a")] * 50)
        assert {(receipt.id, receipt.duplicate) for receipt in again} == {(first.id, True)}
        other = await Waits(name="a").deliver(key="b")
        assert not other.duplicate
        Waits.go.set()
        await first.result(5)
        # After it has ended there may be another
        assert not (await Waits(name="a").deliver()).duplicate
        # But not at once where its class says so
        assert [(await rarely.deliver(n=7)).duplicate for _ in range(2)] == [False, True]
        await shop.done()
        assert (await rarely.deliver(n=7)).duplicate
        assert LOG.count(7) == 1

    run(tmp_path, test)


def test_no_more_of_one_concurrency_key_run_than_may(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        for name in "abcd":
            await Waits(name=name).deliver()
        await Double(n=1).deliver()
        await wait_until_async(lambda: 2 in LOG)
        await _begun("a", "b")
        assert set(LOG) == {"a", "b", 2}
        Waits.go.set()
        await shop.done()
        assert set("abcd") <= set(LOG)

    run(tmp_path, test)


def test_what_is_cancelled_before_it_begins_never_does(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Waits(name="a").deliver(delay=60)
        assert await receipt.cancel()
        with pytest.raises(TaskCancelled):
            await receipt.result(5)
        assert not await receipt.cancel()
        await shop.done()
        assert LOG == []

    run(tmp_path, test)


def test_what_is_cancelled_while_it_runs_is_stopped_and_does_not_finish(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Waits(name="a").deliver()
        await _begun("a")
        assert await receipt.cancel()
        with pytest.raises(TaskCancelled):
            await receipt.result(5)
        await shop.done()
        assert LOG == ["a"]
        assert await shop.dead() == []
        assert shop.counted("task.finished", "outcome") == {"cancelled": 1}

    run(tmp_path, test)


def test_how_far_it_has_come_can_be_seen(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Waits(name="a").deliver()

        async def noted() -> bool:
            row = await binding.current().engine.find(receipt.id)
            return row is not None and row.progress == '{"at": 2}'

        await wait_until_async(noted)
        Waits.go.set()
        await shop.done()

    run(tmp_path, test)


def test_a_worker_of_its_own_serves_its_queue_and_no_other(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipts = [
            await Double(n=n).deliver(queue=queue)
            for n, queue in enumerate(("media", "default", "forgotten"))
        ]
        assert [await receipts[n].result(5) for n in (1, 2)] == [2, 4]
        stats = (await shop.engine.stats())["media"]
        assert (stats.ready, stats.leased) == (1, 0)

    run(tmp_path, test, queues=("media workers=1",))
