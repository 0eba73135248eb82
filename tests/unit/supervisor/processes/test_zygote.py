"""Whoever takes the place of a zygote, nobody is left over. The test plays the zygotes."""

import asyncio
import errno
import socket
import subprocess
from typing import Any, cast

import pytest

from skep.supervisor.processes.census import Census
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.nursery import Nursery
from skep.supervisor.processes.zygote import Answers, Zygote
from skep.wire.channel import BlockingChannel, pair
from skep.wire.messages import Become, Boot, Fork, Hello, Message, Planned
from skep.wire.plan import Plan
from tests.support import wait_until_async


class Bearing:
    """Stands for a nursery; `theirs` are the ends of the zygotes' channels."""

    def __init__(self) -> None:
        self.theirs: list[socket.socket] = []

    def bear(self) -> socket.socket:
        ours, theirs = pair()
        self.theirs.append(theirs)
        return ours

    def give_up(self) -> None:
        """Nobody waits so long here."""


def boot(slot: str) -> Boot:
    return Boot(slot, "zygote", 1, "run", {})


def nobody(*_: object) -> None:
    """Is told, and does nothing."""


def a_zygote(nursery: Bearing, born: Any = nobody, refused: Any = nobody) -> Zygote:
    census, answers = Census(born, nobody, nobody), Answers(nobody, refused, nobody, nobody, nobody)
    return Zygote(1, {}, cast(Nursery, nursery), census, answers)


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
