"""The nursery is started again whenever it ends, later and later if it does not hold."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from skep.supervisor.processes.nursery import Nursery
from skep.wire.messages import Boot
from tests.unit.supervisor.fakes import FakeChild, fake_loop, ignore, pass_time, run


def test_a_nursery_that_held_is_started_again_soon_and_one_that_did_not_later_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    born: list[FakeChild] = []

    def spawn(*_: object) -> tuple[int, socket.socket]:
        return 10_000_001, fake_loop().pair()[0]

    def child(*arguments: Any) -> FakeChild:
        born.append(FakeChild(*arguments))
        return born[-1]

    async def test() -> None:
        children: Any = SimpleNamespace(born=ignore, take=ignore, ended=ignore)
        nursery = Nursery({}, lambda: Boot("nursery", "nursery", 0, "", {}), children)
        assert nursery.fork() is None
        nursery.start()
        assert nursery.fork() is not None
        born[-1].ends()
        assert nursery.fork() is None
        await pass_time(0.6)  # half a second, more or less
        assert len(born) == 2
        born[-1].ends()
        await pass_time(0.6)
        assert len(born) == 2
        await pass_time(2.0)
        assert len(born) == 3
        await pass_time(61.0)
        born[-1].ends()
        await pass_time(0.6)
        assert len(born) == 4
        nursery.stop()
        born[-1].ends()
        await pass_time(100.0)
        assert len(born) == 4

    monkeypatch.setattr("skep.supervisor.processes.nursery.spawn", spawn)
    monkeypatch.setattr("skep.supervisor.processes.nursery.Child", child)
    run(test)
