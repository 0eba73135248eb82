"""Whoever takes the place of a zygote, nobody is left over. The test plays the zygotes."""

import asyncio
import errno
import socket
import subprocess
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import Events
from skep.supervisor.processes.nursery import Nursery
from skep.supervisor.processes.zygote import ZygotePair
from skep.wire.channel import BlockingChannel, pair
from skep.wire.messages import (
    Become,
    Boot,
    Changed,
    Exited,
    Fork,
    Hello,
    LoadFailed,
    Message,
    Planned,
)
from skep.wire.plan import Plan, Problem
from tests.support import wait_until_async
from tests.unit.supervisor.fakes import FakeChild, fake_loop, pass_time, run


class Bearing:
    """Stands for a nursery; `theirs` are the ends of the zygotes' channels."""

    def __init__(self) -> None:
        self.theirs: list[socket.socket] = []

    def fork(self) -> socket.socket:
        ours, theirs = pair()
        self.theirs.append(theirs)
        return ours

    def give_up(self) -> None:
        """Nobody waits so long here."""


def boot(slot: str) -> Boot:
    return Boot(slot, "zygote", 1, "run", {})


def nobody(*_: object) -> None:
    """Is told, and does nothing."""


def a_zygote(nursery: Bearing, born: Any = nobody, refused: Any = nobody) -> ZygotePair:
    owner: Any = SimpleNamespace(planned=nobody, bereft=nobody, denied=lambda _, why: refused(why))
    children = Children(Events(), nobody)
    children.on(Hello, lambda child, _: born(child))
    return ZygotePair(1, {}, cast(Nursery, nursery), children, owner)


async def told(channel: BlockingChannel) -> tuple[Message, list[int]]:
    return await asyncio.to_thread(channel.receive)


def test_an_understudy_that_has_not_said_hello_when_its_parent_dies_is_not_left_over() -> None:
    async def main() -> None:
        nursery, born = Bearing(), list[Child]()
        zygote = a_zygote(nursery, born=born.append)
        with subprocess.Popen(["sleep", "60"]) as process:
            zygote.start(boot)
            channel = BlockingChannel(nursery.theirs[0])
            nursery.theirs[0].settimeout(20)
            assert isinstance((await told(channel))[0], Become)
            channel.send(Hello(process.pid))
            assert isinstance((await told(channel))[0], Boot)
            channel.send(Planned(Plan()))
            order, descriptors = await told(channel)
            assert isinstance(order, Fork)
            with socket.socket(fileno=descriptors[0]) as end:
                understudy = BlockingChannel(end)
                end.settimeout(20)
                assert isinstance((await told(understudy))[0], Boot)
                process.kill()
                channel.close()
                # It had been forked, but nobody has heard of it yet: its successor is another
                with pytest.raises(EOFError):
                    await told(understudy)
        assert [child.pid for child in born] == [process.pid]
        zygote.stop()
        for theirs in nursery.theirs:
            theirs.close()

    asyncio.run(main())


def test_one_that_cannot_be_started_for_a_moment_is_started_later_if_its_generation_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts, refusals = list[str](), list[Any]()

    def spawn(module: str, name: str, environment: object) -> tuple[int, socket.socket]:
        attempts.append(name)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    async def main() -> None:
        nursery = Bearing()
        zygote = a_zygote(nursery, refused=refusals.append)
        with subprocess.Popen(["sleep", "60"]) as process:
            zygote.start(boot)
            channel = BlockingChannel(nursery.theirs[0])
            nursery.theirs[0].settimeout(20)
            await told(channel)
            channel.send(Hello(process.pid))
            await told(channel)
            channel.send(Planned(Plan(unforkable="no understudy")))
            await wait_until_async(lambda: zygote.plan is not None)
            process.kill()
            channel.close()
        await wait_until_async(lambda: len(nursery.theirs) == 2)
        nursery.theirs[1].close()  # nor can the nursery fork
        await wait_until_async(lambda: len(nursery.theirs) == 3)
        assert (attempts, refusals) == (["zygote@1"], [])
        zygote.stop()
        nursery.theirs[2].close()

    monkeypatch.setattr("skep.supervisor.processes.zygote.spawn", spawn)
    asyncio.run(main())


def test_where_there_is_an_heir_nobody_else_is_started() -> None:
    async def main() -> None:
        nursery = Bearing()
        zygote = a_zygote(nursery)
        first, second = (subprocess.Popen(["sleep", "60"]) for _ in range(2))
        with first, second:
            zygote.start(boot)
            channel = BlockingChannel(nursery.theirs[0])
            nursery.theirs[0].settimeout(20)
            await told(channel)
            channel.send(Hello(first.pid))
            await told(channel)
            channel.send(Planned(Plan()))
            order, descriptors = await told(channel)
            assert isinstance(order, Fork)
            with socket.socket(fileno=descriptors[0]) as end:
                heir = BlockingChannel(end)
                end.settimeout(20)
                await told(heir)
                heir.send(Hello(second.pid))
                await wait_until_async(lambda: zygote.understudy and zygote.understudy.pid)
                first.kill()
                channel.close()
                for _ in range(2):  # its understudy ends, and it is asked for another
                    order, descriptors = await told(heir)
                    assert isinstance(order, Fork)
                    socket.socket(fileno=descriptors[0]).close()
                assert len(nursery.theirs) == 1
                zygote.stop()

    asyncio.run(main())


class Cradle:
    """A zygote of a generation; `born` are those that live or have lived, the oldest first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.born: list[FakeChild] = []
        self.answers: list[tuple[Any, ...]] = []
        self.spawned: list[str] = []
        self.given_up = 0
        self.has_nursery = True
        monkeypatch.setattr("skep.supervisor.processes.zygote.Child", self._child)
        monkeypatch.setattr("skep.supervisor.processes.zygote.spawn", self._spawn)
        self.reaped: list[tuple[int, int]] = []
        children = Children(Events(), nobody)
        add = self.answers.append
        children.on(Planned, lambda _, message: add(("declared", *message.plan.secrets)))
        children.on(LoadFailed, lambda _, message: add(("declared", *message.secrets)))
        children.on(Changed, lambda _, answer: add(("changed", answer)))
        children.on(Exited, lambda _, exited: self.reaped.append((exited.pid, exited.status)))
        owner: Any = SimpleNamespace(
            planned=lambda _, plan: add(("planned", plan.code)),
            denied=lambda _, problems: add(("refused", *map(str, problems))),
            bereft=lambda _: add(("lost",)),
        )
        self.zygote = ZygotePair(3, {"A": "1"}, cast(Nursery, self), children, owner)
        self.zygote.start(boot)

    def fork(self) -> socket.socket | None:
        """Order one (see Nursery)."""
        return fake_loop().pair()[0] if self.has_nursery else None

    def give_up(self) -> None:
        """Do without the nursery (see Nursery)."""
        self.given_up += 1

    def _spawn(self, module: str, name: str, environment: object) -> tuple[int, socket.socket]:
        self.spawned.append(name)
        return 10_000_001, fake_loop().pair()[0]

    def _child(self, *arguments: Any) -> FakeChild:
        self.born.append(FakeChild(*arguments))
        return self.born[-1]

    def hello(self, child: FakeChild) -> FakeChild:
        """It runs."""
        child.says(Hello(20_000_000 + self.born.index(child)))
        return child

    def load(self, plan: Plan) -> FakeChild:
        """The newest one runs and has loaded everything."""
        child = self.hello(self.born[-1])
        child.says(Planned(plan))
        return child


def in_a_cradle(monkeypatch: pytest.MonkeyPatch, test: Callable[[Cradle], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Cradle(monkeypatch))

    run(main)


CODE = Plan(code="code-1", secrets=("A_KEY",))
ALONE = Plan(code="code-1", unforkable="a thread runs")


def test_a_zygote_that_has_loaded_answers_and_gets_an_understudy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        zygote = cradle.zygote
        assert cradle.born[0].sent == [Become({"A": "1"})]
        assert zygote.fork(boot("web.0"), nobody, nobody) is None  # nothing is loaded yet
        first = cradle.load(CODE)
        assert first.sent[1:] == [boot("zygote"), Fork("zygote")]
        assert cradle.answers == [("declared", "A_KEY"), ("planned", "code-1")]
        understudy = cradle.hello(cradle.born[1])
        assert (zygote.children, understudy.sent) == ([first, understudy], [boot("zygote")])
        worker = zygote.fork(boot("web.0"), nobody, nobody)
        assert worker is not None
        assert first.sent[-1] == Fork("web.0")
        assert cast(FakeChild, worker).sent == [boot("web.0")]

    in_a_cradle(monkeypatch, test)


def test_a_successor_that_has_loaded_other_code_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        cradle.load(ALONE).ends()
        await pass_time(1.0)
        successor = cradle.load(Plan(code="code-2", unforkable="a thread runs"))
        assert cradle.answers[-1] == ("lost",)
        assert successor.killed
        assert cradle.zygote.plan == ALONE
        assert cradle.zygote.fork(boot("web.0"), nobody, nobody) is None
        successor.ends()
        await pass_time(60.0)
        assert len(cradle.born) == 2  # that would go on for ever

    in_a_cradle(monkeypatch, test)


def test_a_successor_with_the_same_code_takes_over_and_the_plan_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        cradle.load(ALONE).ends()
        assert cradle.zygote.fork(boot("web.0"), nobody, nobody) is None
        await pass_time(1.0)
        assert cradle.zygote.fork(boot("web.0"), nobody, nobody) is None  # it loads still
        cradle.load(ALONE)
        assert cradle.zygote.fork(boot("web.0"), nobody, nobody) is not None
        assert [word for word, *_ in cradle.answers].count("planned") == 1

    in_a_cradle(monkeypatch, test)


def test_a_zygote_that_cannot_load_says_why_and_has_no_successor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        child = cradle.hello(cradle.born[0])
        child.says(LoadFailed([Problem("load", "it is broken")], ["A_KEY"]))
        assert cradle.answers == [("declared", "A_KEY"), ("refused", "it is broken")]
        assert child.dismissed
        child.ends(0)
        await pass_time(60.0)
        assert (len(cradle.answers), len(cradle.born)) == (2, 1)

    in_a_cradle(monkeypatch, test)


def test_a_zygote_that_dies_while_it_loads_refuses_its_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        cradle.hello(cradle.born[0]).ends()
        text = "The zygote ended while it loaded (killed by SIGKILL)."
        assert cradle.answers == [("refused", text)]

    in_a_cradle(monkeypatch, test)


def test_zygotes_that_keep_dying_are_started_later_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        cradle.load(ALONE).ends()
        await pass_time(0.07)
        assert len(cradle.born) == 2
        cradle.hello(cradle.born[1]).ends()
        await pass_time(0.07)
        assert len(cradle.born) == 2
        await pass_time(0.2)
        assert len(cradle.born) == 3
        cradle.load(ALONE).ends()  # one that loads begins anew
        await pass_time(0.07)
        assert len(cradle.born) == 4

    in_a_cradle(monkeypatch, test)


def test_an_understudy_takes_the_place_of_its_zygote_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        first = cradle.load(CODE)
        understudy = cradle.hello(cradle.born[1])
        first.ends()
        assert cradle.zygote.current is understudy
        assert understudy.sent[-1] == Fork("zygote")
        assert cradle.zygote.fork(boot("web.0"), nobody, nobody) is not None

    in_a_cradle(monkeypatch, test)


def test_an_understudy_that_ends_has_a_successor_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        first = cradle.load(CODE)
        cradle.hello(cradle.born[1]).ends()
        assert first.sent.count(Fork("zygote")) == 1
        await pass_time(0.1)
        assert first.sent.count(Fork("zygote")) == 2

    in_a_cradle(monkeypatch, test)


def test_no_understudy_is_forked_where_that_is_not_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        first = cradle.load(ALONE)
        assert Fork("zygote") not in first.sent

    in_a_cradle(monkeypatch, test)


def test_where_the_nursery_is_of_no_use_an_interpreter_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        await pass_time(9.9)
        assert cradle.given_up == 0
        await pass_time(0.1)
        assert cradle.given_up == 1
        cradle.born[0].ends(None)  # it was never born
        assert cradle.spawned == ["zygote@3"]
        alone = cradle.born[1]
        assert (cradle.zygote.current, alone.sent) == (alone, [boot("zygote")])
        cradle.load(ALONE)
        cradle.has_nursery = False
        alone.ends()
        await pass_time(1.0)
        assert cradle.spawned == ["zygote@3"] * 2

    in_a_cradle(monkeypatch, test)


def test_a_zygote_that_was_born_in_time_is_not_nursery_too_slowed_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        cradle.hello(cradle.born[0])
        await pass_time(10.0)
        assert cradle.given_up == 0

    in_a_cradle(monkeypatch, test)


def test_a_stopped_zygote_ends_with_its_understudy_and_has_no_successor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(cradle: Cradle) -> None:
        first = cradle.load(CODE)
        understudy = cradle.hello(cradle.born[1])
        cradle.zygote.stop()
        for child in (first, understudy):
            assert (child.killed, child.dismissed) == (True, True)
            child.ends()
        await pass_time(60.0)
        assert (len(cradle.born), cradle.zygote.children) == (2, [])
        assert ("lost",) not in cradle.answers

    in_a_cradle(monkeypatch, test)


def test_what_a_zygote_says_of_others_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(cradle: Cradle) -> None:
        first = cradle.load(CODE)
        first.says(Exited(4711, 9), Changed(1, apply=True))
        assert cradle.reaped == [(4711, 9)]
        assert cradle.answers[-1] == ("changed", Changed(1, apply=True))

    in_a_cradle(monkeypatch, test)
