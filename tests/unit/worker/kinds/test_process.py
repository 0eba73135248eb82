"""A custom process in this loop: what its end is, and how it is brought to one."""

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from skep.api.processes.context import ProcessContext
from skep.api.processes.process import Process
from skep.base.telemetry import Telemetry
from skep.engine.contract import Engine
from skep.worker.kinds.process import ProcessKind
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Workplace
from tests.support import wait_until_async

NO_ENGINE = cast(Engine, None)


class One:
    """The process in slot 1 of a class."""

    def __init__(self, cls: type[Process], *, replaced: bool = False) -> None:
        catalog = Catalog(processes={"p.Echo": cls})
        workplace = Workplace("process.p.Echo.1", 3, catalog, NO_ENGINE, Telemetry())
        workplace.replaced = lambda: replaced
        self.kind = ProcessKind(workplace)

    async def start(self) -> asyncio.Task[int]:
        await self.kind.prepare()
        return await self.kind.accept({}, {})

    async def end(self, grace: float = 10.0) -> None:
        self.kind.retire()
        await self.kind.drain(asyncio.get_running_loop().time() + grace)
        await self.kind.stop()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def ends_with(what: Callable[[], object], *, in_thread: bool) -> int:
    class InLoop(Process):
        async def run(self, ctx: ProcessContext) -> None:
            what()

    class InThread(Process):
        def run(self, ctx: ProcessContext) -> None:
            assert threading.current_thread() is not threading.main_thread()
            what()

    async def status() -> int:
        return await (await One(InThread if in_thread else InLoop).start())

    return asyncio.run(asyncio.wait_for(status(), 20))


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_exit_status_is_that_of_run(in_thread: bool) -> None:
    assert ends_with(lambda: None, in_thread=in_thread) == 0
    assert ends_with(lambda: 1 / 0, in_thread=in_thread) == 1
    assert ends_with(lambda: sys.exit(), in_thread=in_thread) == 0
    assert ends_with(lambda: sys.exit(3), in_thread=in_thread) == 3
    assert ends_with(lambda: sys.exit("no"), in_thread=in_thread) == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_the_hooks_are_called_while_run_goes_on(replaced: bool) -> None:
    calls: list[str] = []

    class Echo(Process):
        async def run(self, ctx: ProcessContext) -> None:
            self.over = asyncio.Event()
            await self.over.wait()
            calls.append("run ends")

        async def on_reload(self, ctx: ProcessContext) -> None:
            assert ctx.stopping.is_set()
            calls.append("on_reload")

        def on_stop(self, ctx: ProcessContext) -> None:
            calls.append("on_stop")
            self.over.set()

    async def test() -> None:
        one = One(Echo, replaced=replaced)
        await one.start()
        await asyncio.sleep(0)
        await one.end()
        assert calls == [*(["on_reload"] if replaced else []), "on_stop", "run ends"]

    run(test)


def test_a_coroutine_that_cannot_know_that_it_has_to_end_is_cancelled_at_once() -> None:
    ends: list[str] = []

    class Naive(Process):
        async def run(self, ctx: ProcessContext) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append("naive")

    class Watching(Process):
        async def run(self, ctx: ProcessContext) -> None:
            try:
                await ctx.stopping.wait()
                await asyncio.sleep(0.01)
                ends.append("watching")
            except asyncio.CancelledError:
                ends.append("cancelled")

    async def test() -> None:
        for cls in (Naive, Watching):
            one = One(cls)
            await one.start()
            await asyncio.sleep(0)
            await one.end()

    run(test)
    assert ends == ["naive", "watching"]


def test_what_has_not_ended_at_the_deadline_is_cut_off() -> None:
    ends: list[str] = []
    release = threading.Event()

    class Stubborn(Process):
        async def run(self, ctx: ProcessContext) -> None:
            ctx.stopping.is_set()
            try:
                await asyncio.Event().wait()
            finally:
                ends.append("cancelled")

        async def on_stop(self, ctx: ProcessContext) -> None:
            await asyncio.Event().wait()

    class Blocked(Process):
        def run(self, ctx: ProcessContext) -> None:
            release.wait()

    async def test() -> None:
        for cls in (Stubborn, Blocked):
            one = One(cls)
            await one.start()
            await asyncio.sleep(0)
            await one.end(grace=0.01)
        release.set()

    run(test)
    assert ends == ["cancelled"]


def test_one_that_was_never_let_go_just_ends() -> None:
    class Echo(Process):
        async def run(self, ctx: ProcessContext) -> None:
            raise AssertionError

    async def test() -> None:
        one = One(Echo)
        await one.kind.prepare()
        await one.end()

    run(test)


def test_a_program_passes_its_exit_code_on_and_is_stopped_with_its_group(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    class Exits(Process, command=["sh", "-c", "exit 4"]):
        pass

    class Dies(Process, command=["sh", "-c", "kill -9 $$"]):
        pass

    class Sleeps(Process, command=["sh", "-c", "echo begun; sleep 3600 & wait"]):
        pass

    class Missing(Process, command=["no-such-program"]):
        pass

    async def test() -> None:
        assert await (await One(Exits).start()) == 4
        assert await (await One(Dies).start()) == 128 + 9
        one = One(Sleeps)
        running = await one.start()
        await wait_until_async(lambda: "begun" in caplog.text)
        await one.end()
        assert await running == 128 + 15
        # One that has to end while it is started
        one = One(Sleeps)
        running = await one.start()
        await one.end()
        assert await running == 128 + 15
        assert await (await One(Missing).start()) == 1
        assert "There is no executable 'no-such-program'" in caplog.text

    run(test)
