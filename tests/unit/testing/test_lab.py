"""The testing kit: what it runs, when, and how it fails."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep.api.plugin import Plugin
from skep.api.processes.context import ProcessContext
from skep.api.processes.process import Process
from skep.api.tables.table import Table
from skep.api.tasks.context import Context
from skep.api.tasks.decorators import on, task
from skep.api.tasks.event import Event
from skep.api.tasks.task import Task, gather
from skep.api.worker import Worker
from skep.base.backoff import Backoff
from skep.base.errors import EngineError, PlatformError, PluginError, ProcessDown
from skep.base.logs import correlation
from skep.config.env.settings import Settings
from skep.config.options.table import Options
from skep.testing import ManualLab, inline, manual, real

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


class Scores(Table, rows=10):
    n: int


def test_every_lab_has_tables_of_its_own() -> None:
    async def test() -> None:
        for lab in (manual, inline):
            async with lab(Plugin(tables=[Scores])):
                assert Scores.increment("a", "n") == 1
                assert Scores.count() == 1
        async with manual(Plugin()):
            with pytest.raises(PluginError, match="is in no Plugin"):
                Scores.get("a")

    asyncio.run(test())


class Fails(Task):
    times: int
    tries = 3
    backoff = Backoff(first=60, factor=2, cap=600, jitter=0.0)

    async def handle(self, ctx: Context) -> None:
        LOG.append(ctx.attempt)
        if ctx.attempt <= self.times:
            raise ValueError("boom")

    async def finish(self, result: None, ctx: Context) -> None:
        LOG.append("finish")


@task(keep_result=60)
async def double(ctx: Context, n: int) -> int:
    return 2 * n


@task(keep_result=60)
def double_in_a_thread(ctx: Context, n: int) -> int:
    return 2 * int(double(n=n).deliver_sync().result_sync(5))


@task()
async def waits_for_others(ctx: Context) -> None:
    LOG.append(await gather(double(n=1), double(n=2), timeout=5))


@task()
async def again(ctx: Context) -> None:
    await again.deliver()


class Heard(Event):
    n: int


class Unheard(Event):
    n: int


@on(Heard)
async def hear(event: Heard, ctx: Context) -> None:
    await double.deliver(n=event.n)


class Loose(Task):
    value: Any

    async def handle(self, ctx: Context) -> None: ...


class Forgetful(Task):
    """Its schema shows nothing: only the comparison of a lab finds it out."""

    value: int

    @classmethod
    def read(cls, body: bytes) -> "Forgetful":
        return cls(value=0)

    async def handle(self, ctx: Context) -> None: ...


class Undeclared(Task):
    async def handle(self, ctx: Context) -> None: ...


class Colors(Settings):
    color: str = "red"


PLUGIN = Plugin(
    tasks=[Fails, double, double_in_a_thread, waits_for_others, again, Loose, Forgetful],
    events=[Unheard],
    listeners=[hear],
)


def in_a_lab(test: Callable[[ManualLab], Awaitable[None]], kind: Any = manual) -> None:
    async def run() -> None:
        async with kind(PLUGIN) as lab:
            await test(lab)

    asyncio.run(run())


def test_time_passes_when_it_is_told_to_and_each_comes_at_its_moment() -> None:
    async def test(lab: ManualLab) -> None:
        await Fails(times=2).deliver(delay=10)
        await lab.drain()
        assert LOG == []
        await lab.advance(10)
        assert LOG == [1]
        await lab.advance(59)
        assert LOG == [1]
        await lab.advance(3600)
        assert LOG == [1, 2, 3, "finish"]

    in_a_lab(test)


def test_inline_what_is_delivered_has_run() -> None:
    async def test(lab: ManualLab) -> None:
        receipt = await double.deliver(n=21)
        assert await receipt.result(0) == 42
        assert await (await double_in_a_thread.deliver(n=2)).result(0) == 8
        await waits_for_others.deliver()
        assert LOG == [[2, 4]]
        await Heard(n=5).fire()
        lab.assert_delivered(double, n=5, times=1)

    in_a_lab(test, inline)


def test_what_was_not_delivered_is_complained_of_with_what_was() -> None:
    async def test(lab: ManualLab) -> None:
        await double.deliver(n=1)
        await Unheard(n=3).fire()
        lab.assert_fired(Unheard, n=3)
        with pytest.raises(AssertionError, match=r"double\(n=2\) was not delivered.*\n.*n=1"):
            lab.assert_delivered(double, n=2)
        with pytest.raises(AssertionError, match="2 times, but 1"):
            lab.assert_delivered(double, times=2)
        with pytest.raises(AssertionError, match="nothing"):
            lab.assert_fired(Heard)

    in_a_lab(test)


def test_a_lab_refuses_what_would_be_lost_on_a_platform() -> None:
    """A2, A5: undeclared classes, and every payload that does not come back as it was sent."""

    async def test(lab: ManualLab) -> None:
        with pytest.raises(EngineError, match="value is a date and would be a str"):
            await Loose(value=date(2026, 1, 2)).deliver()
        with pytest.raises(EngineError, match="value is a int and would be a int with other"):
            await Forgetful(value=1).deliver()
        with pytest.raises(PluginError, match=r"Undeclared cannot be delivered: it is in no Plug"):
            await Undeclared().deliver()
        with pytest.raises(PluginError, match=r"Colors is used and in no Plugin.settings="):
            Colors.current()
        assert lab.delivered(Loose) == []

    in_a_lab(test)
    assert Colors.current().color == "red"


def test_dead_letters_that_nobody_asks_for_fail_the_test() -> None:
    async def test(lab: ManualLab) -> None:
        await Fails(times=3).deliver(tries=1)
        await lab.drain()

    async def asking(lab: ManualLab) -> None:
        await test(lab)
        assert [letter.reason for letter in await lab.dead()] == ["failed"]

    with pytest.raises(AssertionError, match="ValueError: boom"):
        in_a_lab(test)
    in_a_lab(asking)


def test_what_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[ManualLab.__module__], "_MOST", 500)

    async def test(lab: ManualLab) -> None:
        await again.deliver()
        with pytest.raises(AssertionError, match="is there no end"):
            await lab.drain()

    in_a_lab(test)


def test_after_the_lab_everything_is_as_before() -> None:
    async def test(lab: ManualLab) -> None:
        assert Worker.current().name == "task.0@1"

    in_a_lab(test)
    with pytest.raises(PlatformError):
        Worker.current()
    with pytest.raises(EngineError):
        asyncio.run(double.deliver(n=1))


def test_two_labs_after_one_another_share_a_real_store(tmp_path: Path) -> None:
    async def first() -> None:
        async with real(PLUGIN, tmp_path) as lab:
            await double.deliver(n=1)
            await lab.done()
            await double(n=2).deliver(delay=0.2)

    async def second() -> None:
        async with real(PLUGIN, tmp_path) as lab:
            await lab.done()
            assert (await lab.engine.stats()) == {}

    asyncio.run(first())
    asyncio.run(second())


def test_requests_are_served_as_by_a_web_worker() -> None:
    async def name(request: Request) -> JSONResponse:
        await double.deliver(n=1)
        return JSONResponse(request.state.request_id)

    async def size(request: Request) -> JSONResponse:
        return JSONResponse(len(await request.body()))

    async def fails(request: Request) -> JSONResponse:
        raise LookupError("as told")

    routes = [Route("/", name), Route("/fails", fails), Route("/size", size, methods=["POST"])]

    async def test() -> None:
        async with manual(Plugin(routes=routes, tasks=[double])) as lab:
            answer = await lab.client.get("/", headers={"x-request-id": "given"})
            assert (answer.json(), answer.headers["x-request-id"]) == ("given", "given")
            assert correlation.headers() == {}, "they are the request's, and not the test's"
            most = Options().max_body_size
            assert (await lab.client.post("/size", content=bytes(most))).json() == most
            assert (await lab.client.post("/size", content=bytes(most + 1))).status_code == 413
            with pytest.raises(LookupError, match="as told"):
                await lab.client.get("/fails")

    asyncio.run(test())


class Twice(Process):
    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            await message.reply(2 * message.body)


def test_a_process_that_the_lab_does_not_run_is_named_with_the_way_to_run_it() -> None:
    async def test() -> None:
        async with manual(Plugin(processes=[Twice])) as lab:
            with pytest.raises(ProcessDown, match=r"Twice runs here: .* `async with lab\.process"):
                await Twice.send(1)
            async with lab.process(Twice):
                assert await Twice.request(4) == 8

    asyncio.run(test())
