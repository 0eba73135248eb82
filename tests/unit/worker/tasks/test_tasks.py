"""The way of a task, from `deliver()` to its last step, with a real store."""

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from skep.api.plugin import Plugin
from skep.api.tasks.context import Context
from skep.api.tasks.decorators import task
from skep.api.tasks.policy import Discard, Retry
from skep.api.tasks.task import Task
from skep.base.backoff import Backoff
from skep.base.errors import EngineError
from skep.base.logs import correlation
from skep.base.logs.log import TextFormatter
from skep.engine.contract import Envelope
from skep.engine.ids import new_id
from tests.support import wait_until_async
from tests.workshop import Workshop, run_workshop

AT_ONCE = Backoff(first=0.001, factor=1.0, cap=0.001)
LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


class Note(Task):
    """Writes down that it was run, and how."""

    text: str

    async def handle(self, ctx: Context) -> None:
        LOG.append((self.text, ctx))


class InThread(Task):
    text: str

    def handle(self, ctx: Context) -> None:
        assert threading.current_thread() is not threading.main_thread()
        Note(text=self.text + " from a thread").deliver_sync()


class Sum(Task):
    numbers: list[int]

    async def handle(self, ctx: Context) -> dict[str, int]:
        LOG.append(("handle", ctx.id))
        return {"sum": sum(self.numbers)}

    async def finish(self, result: dict[str, int], ctx: Context) -> None:
        LOG.append(("finish", ctx.id, result, self.numbers))


class FinishFails(Task):
    tries = 3
    backoff = AT_ONCE

    async def handle(self, ctx: Context) -> int:
        LOG.append(("handle", ctx.attempt))
        return 1

    def finish(self, result: int, ctx: Context) -> None:
        LOG.append(("finish", ctx.attempt))
        if ctx.attempt < 3:
            raise RuntimeError("not yet")


class Fails(Task):
    tries = 3
    backoff = AT_ONCE
    queue = "mail"

    async def handle(self, ctx: Context) -> None:
        LOG.append(("handle", ctx.attempt, ctx.tries))
        raise ValueError("boom")

    async def failed(self, error: str, ctx: Context) -> None:
        LOG.append(("failed", error, ctx.id))


class Raises(Task):
    """Raises what is not an error to Python, or is to asyncio."""

    what: str

    KINDS: ClassVar[dict[str, type[BaseException]]] = {
        kind.__name__: kind
        for kind in (
            SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, asyncio.CancelledError,
        )
    }  # fmt: skip

    async def handle(self, ctx: Context) -> None:
        raise self.KINDS[self.what]


class Unspeakable(Task):
    """Fails with a text that no bytes can be made of."""

    async def handle(self, ctx: Context) -> None:
        raise ValueError("half a pair: \ud83d")


class CancelsItself(Task):
    async def handle(self, ctx: Context) -> None:
        LOG.append("begun")
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(10)


class StopsIteration(Task):
    how: str = "StopIteration"

    def handle(self, ctx: Context) -> None:
        if self.how == "GeneratorExit":
            raise GeneratorExit
        next(iter(()))


class Asks(Task):
    tries = 2

    async def handle(self, ctx: Context) -> None:
        LOG.append((ctx.attempt, time.monotonic()))
        raise Retry(delay=0.1)


class Unwanted(Task):
    tries = 5

    async def handle(self, ctx: Context) -> None:
        LOG.append(ctx.attempt)
        raise Discard("there is no such order")

    async def failed(self, error: str, ctx: Context) -> None:
        LOG.append("failed")


class Unkeepable(Task):
    async def handle(self, ctx: Context) -> object:
        return object()

    async def finish(self, result: object, ctx: Context) -> None:
        LOG.append("finish")


class Busy(Task):
    """Is at work until it is let go."""

    now: ClassVar[int] = 0
    most: ClassVar[int] = 0
    go: ClassVar[asyncio.Event]

    async def handle(self, ctx: Context) -> None:
        Busy.now += 1
        Busy.most = max(Busy.now, Busy.most)
        try:
            await Busy.go.wait()
        finally:
            Busy.now -= 1
        LOG.append("end")


class Slow(Task):
    """Takes longer than it may, which must be enough to begin on a busy machine."""

    tries = 2
    timeout = 0.5
    backoff = AT_ONCE

    async def handle(self, ctx: Context) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            LOG.append(("cancelled", ctx.attempt, ctx.cancelled()))
            raise


def logged(function: Any) -> Any:
    """A decorator that knows nothing of coroutines."""

    def call(*args: Any) -> Any:
        return function(*args)

    return call


class SlowBehindADecorator(Slow):
    handle: ClassVar[Any] = logged(Slow.handle)


class GeneratesBehindADecorator(Task):
    @logged
    async def handle(self, ctx: Context) -> Any:
        LOG.append("never")
        yield 1


class Awaits(Task):
    """Returns a coroutine and forgets to await it."""

    keep_result = 60

    async def handle(self, ctx: Context) -> Any:
        async def later() -> str:
            LOG.append("later")
            return "done"

        return later()


class Stuck(Task):
    """A thread that does not stop by itself."""

    timeout = 0.05
    go: ClassVar[threading.Event]

    def handle(self, ctx: Context) -> None:
        Stuck.go.wait(30)


class Obedient(Task):
    """A thread that looks whether it should stop."""

    timeout = 0.05

    def handle(self, ctx: Context) -> None:
        while not ctx.cancelled():
            Stuck.go.wait(0.01)


class Exits(Task):
    timeout = 5

    async def handle(self, ctx: Context) -> None:
        raise SystemExit(1)


@task(tries=2)
async def double(ctx: Context, n: int) -> int:
    return 2 * n


@double.finish
async def doubled(result: int, ctx: Context) -> None:
    LOG.append((result, correlation.request_id(), ctx.id))


PLUGIN = Plugin(
    tasks=[
        Slow, SlowBehindADecorator, GeneratesBehindADecorator, Awaits,
        Stuck, Obedient, Exits, double,
        Note, InThread, Sum, FinishFails, Fails, Raises, StopsIteration, Asks, Unwanted,
        Unkeepable, Busy, Unspeakable, CancelsItself,
    ]
)  # fmt: skip


def test_a_task_is_run_with_its_payload_and_its_context(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Note(text="hello").deliver()
        await shop.done()
        ((text, ctx),) = LOG
        assert text == "hello"
        assert (ctx.id, ctx.attempt, ctx.tries) == (receipt.id, 1, 1)
        assert (ctx.slot, ctx.generation, ctx.log.name) == ("task.0", 7, "test_tasks.Note")

    run_workshop(tmp_path, PLUGIN, test)


def test_a_delayed_task_is_not_run_early(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        start = time.time()
        await Note(text="later").deliver(delay=1.0)
        await Note(text="now").deliver()
        await shop.done()
        assert [text for text, _ in LOG] == ["now", "later"]
        assert time.time() - start >= 1.0

    run_workshop(tmp_path, PLUGIN, test)


def test_a_plain_function_runs_in_a_thread_and_can_deliver(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await InThread(text="hello").deliver()
        await shop.done()
        assert [text for text, _ in LOG] == ["hello from a thread"]

    run_workshop(tmp_path, PLUGIN, test)


def test_finish_gets_the_result_in_a_step_of_its_own(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Sum(numbers=[1, 2]).deliver()
        await shop.done()
        assert [("handle", receipt.id), ("finish", receipt.id, {"sum": 3}, [1, 2])] == LOG
        assert shop.counted("task.finished", "task") == {
            "test_tasks.Sum": 1,
            "test_tasks.Sum.finish": 1,
        }

    run_workshop(tmp_path, PLUGIN, test)


def test_finish_is_tried_again_without_handle(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await FinishFails().deliver()
        await shop.done()
        assert LOG == [("handle", 1), ("finish", 1), ("finish", 2), ("finish", 3)]
        assert await shop.dead() == []

    run_workshop(tmp_path, PLUGIN, test)


def test_after_its_last_try_a_task_is_a_dead_letter_and_failed_runs(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipt = await Fails().deliver()
        await shop.done()
        *tries, (step, error, delivery) = LOG
        assert tries == [("handle", 1, 3), ("handle", 2, 3), ("handle", 3, 3)]
        assert (step, delivery) == ("failed", receipt.id)
        assert "ValueError: boom" in error
        (dead,) = await shop.dead("mail")
        assert (dead.envelope.id, dead.reason, dead.attempt) == (receipt.id, "failed", 3)
        assert "in handle" in dead.error
        name = "test_tasks.Fails"
        assert shop.tallied("task_retries_total") == {(name, "mail"): 2}
        assert shop.tallied("tasks_dead_total") == {(name, "mail"): 1}
        assert shop.tallied("tasks_total") == {
            (name, "mail", "failure"): 3,
            (f"{name}.failed", "mail", "success"): 1,
        }

    run_workshop(tmp_path, PLUGIN, test)


@pytest.mark.parametrize("what", Raises.KINDS)
def test_whatever_a_handler_raises_is_its_failure_and_not_the_worker_s(
    tmp_path: Path, what: str
) -> None:
    async def test(shop: Workshop) -> None:
        await Raises(what=what).deliver()
        await Note(text="the worker lives").deliver()
        await shop.done()
        (dead,) = await shop.dead()
        assert what in dead.error
        assert [text for text, _ in LOG] == ["the worker lives"]

    run_workshop(tmp_path, PLUGIN, test)


def test_an_error_that_cannot_be_written_down_as_it_is_is_written_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # pytest's own report could not be written down either
    caplog.set_level(logging.CRITICAL, "skep.worker.tasks.runner")

    async def test(shop: Workshop) -> None:
        await Unspeakable().deliver()
        await shop.done()
        (dead,) = await shop.dead()
        assert dead.error.endswith("ValueError: half a pair: \\ud83d\n")

    run_workshop(tmp_path, PLUGIN, test)


def test_a_coroutine_that_cancels_itself_has_failed_and_is_not_begun_again(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await CancelsItself().deliver()
        await shop.done()
        (dead,) = await shop.dead()
        assert "CancelledError" in dead.error
        assert LOG == ["begun"]

    run_workshop(tmp_path, PLUGIN, test)


@pytest.mark.parametrize("how", ["StopIteration", "GeneratorExit"])
def test_what_no_thread_can_raise_into_a_coroutine_is_a_failure(tmp_path: Path, how: str) -> None:
    async def test(shop: Workshop) -> None:
        await StopsIteration(how=how).deliver()
        await shop.done()
        (dead,) = await shop.dead()
        assert f"raised {how}" in dead.error

    run_workshop(tmp_path, PLUGIN, test)


def test_a_handler_can_ask_to_be_tried_again_when_it_likes(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Asks().deliver()
        await shop.done()
        (first, start), (second, again) = LOG
        assert (first, second) == (1, 2)
        assert again - start >= 0.099  # the store counts in whole milliseconds
        assert [row.reason for row in await shop.dead()] == ["failed"]

    run_workshop(tmp_path, PLUGIN, test)


def test_a_handler_can_discard_its_task(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Unwanted().deliver()
        await shop.done()
        assert LOG == [1]
        assert await shop.dead() == []
        assert shop.counted("task.finished", "outcome") == {"rejected": 1}

    run_workshop(tmp_path, PLUGIN, test)


def test_a_result_that_cannot_be_kept_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    """A12: the task is not run again, for it would return the same."""

    async def test(shop: Workshop) -> None:
        await Unkeepable().deliver(tries=3)
        await shop.done()
        (dead,) = await shop.dead()
        assert (dead.reason, dead.attempt) == ("invalid_result", 1)
        assert "handle() of test_tasks.Unkeepable returned cannot be kept" in dead.error
        assert LOG == []

    run_workshop(tmp_path, PLUGIN, test)


def test_a_body_that_is_no_payload_is_never_run(tmp_path: Path) -> None:
    """Tasks, case 19."""

    async def test(shop: Workshop) -> None:
        bodies = (b"\x80\x05.", b"{}", b'{"text": 5}', b"")
        await shop.engine.put([Envelope(new_id(), "test_tasks.Note", body) for body in bodies])
        await shop.done()
        dead = await shop.dead()
        assert [row.reason for row in dead] == ["undecodable"] * len(bodies)
        assert "test_tasks.Note" in dead[0].error
        assert LOG == []

    run_workshop(tmp_path, PLUGIN, test)


def test_an_unknown_task_waits_for_a_worker_that_knows_it(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        unknown = Envelope(new_id(), "other.Unknown", b"{}")
        await shop.engine.put([unknown])

        async def put_off() -> bool:
            return (await shop.engine.stats())["default"].scheduled == 1

        await wait_until_async(put_off)
        (row,) = await shop.engine.scan("default", "scheduled")
        assert row.envelope.id == unknown.id
        assert row.envelope.headers == {"unknown": "1"}

    run_workshop(tmp_path, PLUGIN, test)


def test_no_more_run_at_once_than_the_concurrency_allows(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        Busy.go, Busy.most = asyncio.Event(), 0
        for _ in range(7):
            await Busy().deliver()

        async def three_at_work() -> bool:
            return (await shop.engine.stats())["default"].leased == Busy.now == 3

        await wait_until_async(three_at_work)
        Busy.go.set()
        await shop.done()
        assert (Busy.most, len(LOG)) == (3, 7)
        assert sum(point["by"] for point in shop.told("task.running")) == 0

    run_workshop(tmp_path, PLUGIN, test, task_concurrency=3)


def test_a_drain_waits_for_what_runs_and_leases_nothing_new(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        # Given a task at work
        Busy.go = asyncio.Event()
        await Busy().deliver()
        await wait_until_async(_at_work)
        # When the worker is drained while another is delivered
        loop = asyncio.get_running_loop()
        draining = asyncio.create_task(shop.kind.drain(loop.time() + 5))
        await asyncio.sleep(0)
        await Note(text="for another worker").deliver()
        assert not draining.done()
        Busy.go.set()
        await draining
        # Then the first has ended, and the second waits
        assert LOG == ["end"]
        stats = (await shop.engine.stats())["default"]
        assert (stats.ready, stats.leased) == (1, 0)

    run_workshop(tmp_path, PLUGIN, test)


def test_what_does_not_end_before_the_deadline_is_given_back_uncounted(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        Busy.go = asyncio.Event()
        await Busy().deliver()
        await wait_until_async(_at_work)
        await shop.kind.drain(asyncio.get_running_loop().time())
        await shop.kind.stop()
        (lease,) = await shop.engine.lease((), 1)
        assert (lease.attempt, lease.losses, LOG) == (1, 0, [])
        assert shop.counted("task.finished", "outcome") == {"cancelled": 1}

    run_workshop(tmp_path, PLUGIN, test)


async def _at_work() -> bool:
    return Busy.now > 0


def test_a_coroutine_is_cancelled_when_its_time_is_over_and_the_attempt_counts(
    tmp_path: Path,
) -> None:
    async def test(shop: Workshop) -> None:
        await Slow().deliver()
        await shop.done()
        assert LOG == [("cancelled", 1, True), ("cancelled", 2, True)]
        (dead,) = await shop.dead()
        assert (dead.reason, dead.attempt) == ("timeout", 2)
        assert shop.counted("task.finished", "outcome") == {"timeout": 2}
        assert shop.retirements == []

    run_workshop(tmp_path, PLUGIN, test)


def test_an_async_function_behind_a_plain_decorator_is_awaited_and_cancelled_in_time(
    tmp_path: Path,
) -> None:
    """A4: it counted as success, and none of it ran."""

    async def test(shop: Workshop) -> None:
        await SlowBehindADecorator().deliver()
        await shop.done()
        assert LOG == [("cancelled", 1, True), ("cancelled", 2, True)]
        assert [row.reason for row in await shop.dead()] == ["timeout"]
        assert shop.retirements == []
        receipt = await Awaits().deliver()
        assert await receipt.result(20) == "done"

    run_workshop(tmp_path, PLUGIN, test)


def test_a_generator_behind_a_plain_decorator_is_a_failure(tmp_path: Path) -> None:
    """A4: that a call made a generator is no success."""

    async def test(shop: Workshop) -> None:
        await GeneratesBehindADecorator().deliver()
        await shop.done()
        (dead,) = await shop.dead()
        assert "GeneratesBehindADecorator.handle returned a generator" in dead.error
        assert (dead.reason, LOG) == ("failed", [])

    run_workshop(tmp_path, PLUGIN, test)


def test_a_thread_that_does_not_stop_is_settled_and_its_worker_asks_to_be_replaced(
    tmp_path: Path,
) -> None:
    async def test(shop: Workshop) -> None:
        Stuck.go = threading.Event()
        try:
            await Stuck().deliver()
            await Note(text="beside it").deliver()
            await shop.done()
            (dead,) = await shop.dead()
            assert dead.reason == "timeout"
            assert shop.retirements == ["test_tasks.Stuck did not stop after its timeout"]
            assert [text for text, _ in LOG] == ["beside it"]
        finally:
            Stuck.go.set()

    run_workshop(tmp_path, PLUGIN, test)


def test_a_thread_that_looks_whether_it_should_stop_costs_no_worker(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        Stuck.go = threading.Event()
        await Obedient().deliver()
        await shop.done()
        assert [row.reason for row in await shop.dead()] == ["timeout"]
        assert shop.retirements == []

    run_workshop(tmp_path, PLUGIN, test)


def test_an_exit_within_a_timeout_is_a_failure_too(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Exits().deliver()
        await shop.done()
        (dead,) = await shop.dead()
        assert "SystemExit" in dead.error

    run_workshop(tmp_path, PLUGIN, test)


def test_what_was_said_at_the_delivery_stands_above_the_class(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Fails().deliver(tries=1, queue="post")
        await shop.done()
        (dead,) = await shop.dead("post")
        assert dead.attempt == 1

    run_workshop(tmp_path, PLUGIN, test)


@pytest.mark.parametrize(
    "terms",
    [
        {"tries": 0},
        {"tries": True},
        {"priority": "high"},
        {"delay": -1},
        {"delay": "soon"},
        {"queue": 5},
        {"queue": "half a pair: \ud83d"},
        {"key": 5},
        {"key": "half a pair: \ud83d"},
    ],
)
def test_terms_that_are_none_are_refused(tmp_path: Path, terms: Any) -> None:
    async def test(shop: Workshop) -> None:
        with pytest.raises(ValueError, match="must be"):
            await Note(text="").deliver(**terms)

    run_workshop(tmp_path, PLUGIN, test)


def test_many_are_delivered_in_one_batch(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        receipts = await Task.deliver_many([Note(text="a"), Sum(numbers=[1])])
        await shop.done()
        assert {receipt.id for receipt in receipts} == {
            entry[1].id if isinstance(entry[1], Context) else entry[1] for entry in LOG
        }
        assert await Note.deliver_many([]) == []
        assert len(await Note.deliver_many(Note(text=text) for text in "ab")) == 2

    run_workshop(tmp_path, PLUGIN, test)


def test_a_function_is_run_and_finished_for_the_request_that_delivered_it(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        with correlation.correlated(correlation.new_request("req-1")):
            receipt = await double.deliver(n=21)
        await shop.done()
        assert [(42, "req-1", receipt.id)] == LOG

    run_workshop(tmp_path, PLUGIN, test)


def test_every_line_of_a_handler_carries_the_id_and_the_attempt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(TextFormatter("task.0@7", colour=False).format(record))

    async def test(shop: Workshop) -> None:
        receipt = await Fails().deliver()
        await shop.done()
        said = [line for line in lines if "test_tasks.Fails failed" in line]
        assert len(said) == 3
        for attempt, line in enumerate(said, 1):
            assert f"task_id={receipt.id}  attempt={attempt}" in line

    collector = Collector()
    logging.getLogger().addHandler(collector)
    try:
        run_workshop(tmp_path, PLUGIN, test)
    finally:
        logging.getLogger().removeHandler(collector)


def test_points_are_told_for_metrics(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        await Note(text="hello").deliver()
        await shop.done()
        of_it = {"task": "test_tasks.Note", "queue": "default"}
        assert shop.told("task.enqueued") == [of_it]
        assert shop.told("task.waited") == [{"queue": "default"}]
        assert shop.told("task.running") == [{"queue": "default", "by": n} for n in (1, -1)]
        assert shop.told("task.finished") == [{**of_it, "outcome": "success"}]

    run_workshop(tmp_path, PLUGIN, test)


def test_deliver_is_not_for_another_loop_nor_deliver_sync_for_this_one(tmp_path: Path) -> None:
    async def test(shop: Workshop) -> None:
        with pytest.raises(EngineError, match="await deliver"):
            Note(text="").deliver_sync()
        with pytest.raises(EngineError, match="deliver_sync"):
            await asyncio.to_thread(asyncio.run, Note(text="").deliver())

    run_workshop(tmp_path, PLUGIN, test)


def test_deliver_needs_a_worker_or_a_platform() -> None:
    with pytest.raises(EngineError, match="set PLATFORM_DATA_DIR"):
        asyncio.run(Note(text="").deliver())
