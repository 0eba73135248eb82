"""What becomes of tasks when those who run, keep or deliver them are killed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skep.base.telemetry import Telemetry
from skep.engine import binding
from skep.engine.contract import Engine
from skep.engine.embedded import Embedded
from skep.worker.loading.catalog import Catalog
from tests.process.chores import PLUGIN, Diary, Forks, ForksInThread, Gathering, Nap, Poison, Round
from tests.process.store_child import StoreChild
from tests.process.worker_child import WorkerChild
from tests.support import wait_settled, wait_until, wait_until_async

pytestmark = pytest.mark.process

CONCURRENCY = 8


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreChild]:
    with StoreChild(tmp_path / "data") as store:
        yield store


@asynccontextmanager
async def delivering(store: StoreChild) -> AsyncIterator[Engine]:
    """Make this process one that can deliver."""
    engine = Embedded(store.path, "web.0@1:1")
    await engine.open()
    binding.bind(engine, Telemetry(), Catalog.collect({"chores": PLUGIN}).listener_names())
    try:
        yield engine
    finally:
        binding.unbind()
        await engine.close()


def deliver(store: StoreChild, work: Callable[[Engine], Awaitable[None]]) -> None:
    """Run a coroutine in a process that can deliver."""

    async def run() -> None:
        async with delivering(store) as engine:
            await work(engine)

    asyncio.run(run())


def a_worker(store: StoreChild, slot: str = "task.0", grace: float = 5.0) -> WorkerChild:
    return WorkerChild(store.path, slot, CONCURRENCY, grace)


def test_a_task_whose_worker_is_killed_in_its_middle_is_run_by_another(
    store: StoreChild, diary: Diary
) -> None:
    async def test(engine: Engine) -> None:
        # Given a task at work, on a queue that is otherwise idle, for longer than the kill may take
        await diary.chore("long", seconds=2.0).deliver()
        with a_worker(store) as first:
            await asyncio.to_thread(wait_until, diary.starts)
            with a_worker(store, "task.1"):
                # When its worker is killed, then the other runs it, and it ends once
                first.kill()
                await asyncio.to_thread(wait_until, diary.ends)
        assert (diary.starts(), diary.ends()) == ({"long": 2}, {"long": 1})
        assert {attempt for _, attempt, _ in diary.entries("start")} == {"1"}

    deliver(store, test)


def test_no_task_is_missing_when_workers_are_killed_under_load(
    store: StoreChild, diary: Diary
) -> None:
    async def test(engine: Engine) -> None:
        # Given two workers with hundreds of tasks
        names = [f"{n}" for n in range(400)]
        await asyncio.gather(*(diary.chore(name, seconds=0.01).deliver() for name in names))
        with a_worker(store) as one, a_worker(store, "task.1") as two:
            # When each is killed in turn in the middle of them, and replaced
            for worker, so_far in ((one, 40), (two, 120), (one, 200)):
                await asyncio.to_thread(wait_until, lambda n=so_far: len(diary.ends()) >= n)
                worker.kill()
                worker.start()
            await asyncio.to_thread(wait_until, lambda: len(diary.ends()) == len(names))
        # Then all have ended, and only those that were running were begun again
        assert set(diary.ends()) == set(names)
        assert sum(diary.starts().values()) - len(names) <= 3 * CONCURRENCY

    deliver(store, test)


def test_no_task_is_missing_nor_run_twice_when_the_store_is_killed_under_load(
    store: StoreChild, diary: Diary
) -> None:
    async def test(engine: Engine) -> None:
        delivered: list[str] = []
        stop = asyncio.Event()

        async def client(number: int) -> None:
            while not stop.is_set():
                name = f"{number}-{len(delivered)}"
                await diary.chore(name).deliver()
                delivered.append(name)

        async def so_many_more(number: int) -> None:
            goal = len(delivered) + number
            await wait_until_async(_async(lambda: len(delivered) >= goal))

        # Given clients that deliver as fast as they can, and workers that run it
        with a_worker(store), a_worker(store, "task.1"):
            clients = [asyncio.create_task(client(n)) for n in range(8)]
            # When the store is killed and started again, twice
            for _ in range(2):
                await so_many_more(300)
                store.kill()
                store.start()
            await so_many_more(300)
            stop.set()
            await asyncio.gather(*clients)
            await asyncio.to_thread(wait_until, lambda: len(diary.ends()) >= len(delivered))
        # Then everything confirmed has run
        assert set(diary.ends()) == set(delivered)
        # And nothing twice but what was running when the store was killed
        assert sum(diary.starts().values()) - len(delivered) <= 2 * 2 * CONCURRENCY

    deliver(store, test)


def test_every_task_ends_after_everything_was_killed(store: StoreChild, diary: Diary) -> None:
    names = [f"{n}" for n in range(100)]

    async def first_run(engine: Engine) -> None:
        # Given a hundred tasks, some of which are running
        await asyncio.gather(*(diary.chore(name, seconds=0.2).deliver() for name in names))
        with a_worker(store) as worker:
            await asyncio.to_thread(wait_until, lambda: len(diary.starts()) >= 10)
            # When all is killed
            store.kill()
            worker.kill()

    async def second_run(engine: Engine) -> None:
        with a_worker(store), a_worker(store, "task.1"):
            await asyncio.to_thread(wait_until, lambda: len(diary.ends()) == len(names))

    deliver(store, first_run)
    # And the platform is started again
    store.run_id = "run-2"
    store.start()
    deliver(store, second_run)
    # Then all end
    assert set(diary.ends()) == set(names)


def test_a_task_that_kills_its_workers_is_given_up_and_the_others_are_run(
    store: StoreChild, diary: Diary
) -> None:
    async def test(engine: Engine) -> None:
        await Poison(diary=diary.path).deliver()
        names = [f"{n}" for n in range(50)]
        await asyncio.gather(*(diary.chore(name).deliver() for name in names))
        with a_worker(store) as worker:
            # Given a worker that is replaced whenever it dies
            for _ in range(3):
                assert await asyncio.to_thread(worker.wait) == -9
                worker.start()
            # Then the poison has been begun three times, and everything else has ended
            await asyncio.to_thread(wait_until, lambda: set(diary.ends()) == set(names))
            await wait_until_async(lambda: engine.scan("default", "dead"))
        (dead,) = await engine.scan("default", "dead")
        assert (dead.reason, dead.losses) == ("worker_lost", 3)
        assert diary.starts()["poison"] == 3

    deliver(store, test)


def test_a_hundred_sleepers_are_at_work_at_once_on_one_worker_beside_a_thread(
    store: StoreChild, diary: Diary
) -> None:
    """Tasks, case 9."""

    async def test(engine: Engine) -> None:
        with WorkerChild(store.path, concurrency=101):
            await Nap(diary=diary.path, seconds=60).deliver()
            await asyncio.to_thread(wait_until, diary.starts)
            # Each goes on when the last of them has begun, and the thread goes on meanwhile
            total = [f"{n}" for n in range(100)]
            await Gathering.deliver_many(
                [Gathering(diary=diary.path, name=name, number=len(total)) for name in total]
            )
            await asyncio.to_thread(wait_until, lambda: set(diary.ends()) >= set(total))
            assert "nap" not in diary.ends()

    deliver(store, test)


def test_a_round_goes_on_at_the_listener_whose_worker_died(store: StoreChild, diary: Diary) -> None:
    """Tasks, case 8."""

    async def test(engine: Engine) -> None:
        with a_worker(store), a_worker(store, "task.1"):
            await Round(diary=diary.path).fire()
            await asyncio.to_thread(wait_until, diary.ends)
        assert (diary.starts(), diary.ends()) == ({"before": 1, "deadly": 2}, {"after": 1})

    deliver(store, test)


@pytest.mark.parametrize("how", ["return", "await", "raise", "thread"])
def test_a_process_that_a_handler_forked_does_not_come_back_as_a_second_worker(
    store: StoreChild, diary: Diary, how: str
) -> None:
    async def test(engine: Engine) -> None:
        with a_worker(store) as worker:
            for n in range(3):
                task = ForksInThread if how == "thread" else Forks
                await task(diary=diary.path, name=f"{n}", how=how).deliver()
            await asyncio.to_thread(wait_until, lambda: len(diary.ends()) == 3)
            # Then the worker goes on as before, and nothing was done twice
            await asyncio.gather(*(diary.chore(f"after {n}").deliver() for n in range(50)))
            await asyncio.to_thread(wait_until, lambda: diary.ends()["after"] == 50)
            assert {pid for *_, pid in diary.entries("end")} == {str(worker.pid)}
            await wait_settled(engine)
            assert set(diary.starts().values()) == {1, 50}

    deliver(store, test)


def test_a_drained_worker_finishes_what_it_can_and_gives_back_the_rest(
    store: StoreChild, diary: Diary
) -> None:
    async def test(engine: Engine) -> None:
        # Given a short task and a long one at work
        await diary.chore("short", seconds=0.4).deliver()
        await diary.chore("long", seconds=60).deliver()
        with a_worker(store, grace=3.0) as worker:
            await asyncio.to_thread(wait_until, lambda: len(diary.starts()) == 2)
            # When the worker is asked to go
            assert await asyncio.to_thread(worker.drain) == 0
        # Then the short one has ended, and the long one waits as if it had never begun
        assert diary.ends() == {"short": 1}
        (lease,) = await engine.lease((), 10)
        assert (lease.attempt, lease.losses) == (1, 0)

    deliver(store, test)


def _async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return condition()

    return ask
