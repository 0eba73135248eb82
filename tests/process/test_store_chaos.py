"""The store when the disk is full, when its clients are stopped, and when it is killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from skep.base.telemetry import Telemetry
from skep.engine import binding
from skep.engine.contract import Engine, Envelope, Settlement
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from tests.packages import require_mounts
from tests.process.chores import Block, Diary, Followed, Tick
from tests.process.store_child import ROOT, StoreChild
from tests.process.worker_child import WorkerChild
from tests.support import wait_settled, wait_until, wait_until_async

pytestmark = pytest.mark.process

LEASE = 2.0
MEGABYTE = 1024 * 1024


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreChild]:
    with StoreChild(tmp_path / "data", lease=LEASE) as store:
        yield store


def with_client(store: StoreChild, work: Callable[[Engine], Awaitable[None]]) -> None:
    """Run a coroutine in a process that can deliver."""

    async def run() -> None:
        engine = Embedded(store.path, "web.0@1:1")
        await engine.open()
        binding.bind(engine, Telemetry(), {})
        try:
            await work(engine)
        finally:
            binding.unbind()
            await engine.close()

    asyncio.run(run())


def an_envelope(size: int = 2) -> Envelope:
    return Envelope(new_id(), "chores.Nothing", b"x" * size)


# -- silence ---------------------------------------------------------------------------------------


def test_a_stopped_worker_loses_its_task_and_its_late_word_does_not_count(
    store: StoreChild, diary: Diary
) -> None:
    """Tasks, case 27."""

    async def test(engine: Engine) -> None:
        # Given a worker in the middle of a task, stopped until its lease is over and another has
        # done all of it: how much longer makes no difference to anybody
        await Followed(diary=diary.path, name="long", seconds=LEASE).deliver()
        with WorkerChild(store.path) as zombie:
            await asyncio.to_thread(wait_until, diary.starts)
            os.kill(zombie.pid, signal.SIGSTOP)
            with WorkerChild(store.path, "task.1"):
                # Then another runs the task, and it is a loss
                await asyncio.to_thread(wait_until, diary.ends)
                assert diary.starts() == {"long": 2}
                await asyncio.to_thread(wait_until, lambda: diary.entries("finish"))
                # And when the stopped one goes on, it ends too, but that changes nothing
                os.kill(zombie.pid, signal.SIGCONT)
                await asyncio.to_thread(wait_until, lambda: diary.ends()["long"] == 2)
                await wait_settled(engine)
                # And it works as before
                await asyncio.gather(*(diary.chore(f"{n}", 1.0).deliver() for n in range(32)))
                await asyncio.to_thread(wait_until, lambda: len(diary.ends()) == 33)
                pids = {pid for _, _, pid in diary.entries("end")}
                assert str(zombie.pid) in pids
                assert len(pids) == 2
                # And what it said of the first one has had no `finish`
                assert len(diary.entries("finish")) == 1

    with_client(store, test)


def test_a_worker_whose_loop_is_blocked_keeps_its_task(store: StoreChild, diary: Diary) -> None:
    """Tasks, case 28."""

    async def test(engine: Engine) -> None:
        # Given a handler that blocks its worker's loop for four lease times
        await Block(diary=diary.path, seconds=4 * LEASE).deliver()
        with WorkerChild(store.path):
            await asyncio.to_thread(wait_until, diary.starts)
            with WorkerChild(store.path, "task.1"):
                # Then nobody else begins it
                await asyncio.to_thread(wait_until, diary.ends)
                assert diary.starts() == {"block": 1}

    with_client(store, test)


# -- kills -----------------------------------------------------------------------------------------


def test_the_store_is_killed_between_any_two_answers_and_keeps_what_it_confirmed(
    store: StoreChild,
) -> None:
    """Tasks, case 24: Clients put, lease and settle for all they can while the store is killed
    again and again."""
    confirmed: set[str] = set()
    ended: set[str] = set()

    async def test(engine: Engine) -> None:
        stop = asyncio.Event()

        async def produce() -> None:
            while not stop.is_set():
                sent = [an_envelope() for _ in range(5)]
                await engine.put(sent)
                confirmed.update(envelope.id for envelope in sent)

        async def consume(number: int) -> None:
            client = Embedded(store.path, f"task.{number}@1:{number}")
            await client.open()
            try:
                while True:
                    leases = await client.lease((), 8)
                    ended.update(lease.envelope.id for lease in leases)
                    await client.settle([Settlement(lease, "done") for lease in leases])
            finally:
                await client.close()

        producers = [asyncio.create_task(produce()) for _ in range(4)]
        consumers = [asyncio.create_task(consume(n)) for n in range(2)]
        for kill in range(1, 6):
            await wait_until_async(lambda kill=kill: len(confirmed) >= 300 * kill)  # type: ignore[misc]
            store.kill()
            store.start()
        stop.set()
        await asyncio.gather(*producers)
        await wait_until_async(lambda: confirmed <= ended)
        await wait_settled(engine)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)

    with_client(store, test)


def test_an_idle_store_that_was_killed_serves_those_who_wait(store: StoreChild) -> None:
    """Tasks, case 24."""

    async def test(engine: Engine) -> None:
        # Given somebody who waits for a lease, one for a result, and one who is asked to stop
        sent = Envelope(new_id(), "chores.Nothing", b"", queue="other", keep_result=60_000)
        await engine.put([sent])
        (held,) = await engine.lease(("other",), 1)
        waiting = asyncio.create_task(engine.lease(("default",), 1))
        asking = asyncio.create_task(engine.result(sent.id, wait=20))
        await engine.cancel([sent.id])
        assert await engine.cancelled() == [sent.id]
        await engine.pause(["paused"])
        hold = await engine.hold("timer", 60_000)
        assert hold is not None
        # When the store is killed while nothing happens
        store.kill()
        store.start()
        # Then all of them get what they wait for, and what was settled before still is
        await engine.put([an_envelope()])
        assert len(await asyncio.wait_for(waiting, 20)) == 1
        assert await engine.settle([Settlement(held, "done", result=b"7")]) == [True]
        result = await asyncio.wait_for(asking, 20)
        assert result is not None
        assert result.body == b"7"
        assert (await engine.stats())["paused"].paused
        again = await engine.hold("timer", 60_000, hold.token)
        assert again is not None
        assert again.epoch == hold.epoch

    with_client(store, test)


# -- room ------------------------------------------------------------------------------------------


def test_twenty_thousand_tasks_run_once_and_leave_no_trace(
    store: StoreChild, tmp_path: Path
) -> None:
    """Tasks, case 16."""

    async def test(engine: Engine) -> None:
        done = tmp_path / "done"
        done.touch()
        for _ in range(40):
            await Tick.deliver_many([Tick(path=str(done)) for _ in range(500)])
        with WorkerChild(store.path), WorkerChild(store.path, "task.1"):
            await wait_settled(engine, 60)
        assert done.stat().st_size == 20_000
        assert _resident(store.pid) < 150 * MEGABYTE
        # The file gives its room back when there is nothing to do
        await wait_until_async(lambda: store.directory.queue_file.stat().st_size < MEGABYTE, 30)
        files = store.directory.path.glob("queue.db*")
        assert sum(f.stat().st_size for f in files if f.suffix != ".ballast") < 64 * MEGABYTE

    with_client(store, test)


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("filled_by", ["others", "the queue"])
def test_a_full_disk_refuses_what_is_new_and_lets_the_rest_go_on(
    tmp_path: Path, filled_by: str
) -> None:
    """Tasks, case 26."""
    require_mounts()
    arguments = ["-m", "tests.process.full_disk", str(tmp_path / "disk"), filled_by]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    command = ["unshare", "-m", sys.executable, "-P", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is full: deliveries are refused" in done.stderr
    assert "has room again" in done.stderr
