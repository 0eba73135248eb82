"""A slot whose child cannot be had just now is filled when it can."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any

from skep.base.telemetry import Telemetry
from skep.supervisor.child import Child
from skep.supervisor.crew import Crew
from skep.supervisor.slots import Limits, State
from skep.wire.channel import BlockingChannel, pair
from tests.support import wait_until_async


class Machine:
    """Gives children as long as it has what they need; the test is the children."""

    def __init__(self) -> None:
        self.trouble: OSError | None = OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.attempts = 0
        self.told: list[str] = []
        self.children: list[BlockingChannel] = []
        telemetry = Telemetry()
        telemetry.subscribe("worker.unstarted", lambda fields: self.told.append(fields["slot"]))
        nothing: Any = lambda *_: None  # noqa: E731
        self.crew = Crew(0, self._launch, nothing, nothing, telemetry)

    def _launch(self, crew: Crew, slot: str) -> Child:
        self.attempts += 1
        if self.trouble is not None:
            raise self.trouble
        ours, theirs = pair()
        self.children.append(BlockingChannel(theirs))
        nothing: Any = lambda *_: None  # noqa: E731
        return Child(slot, 0, ours, nothing, nothing)

    def state(self, slot: str) -> State | None:
        """How it stands with a slot."""
        return self.crew.slots[slot].state if slot in self.crew.slots else None

    def close(self) -> None:
        """Let go of all channels."""
        for channel in self.children:
            channel.close()
        for child in self.crew.children.values():
            child.kill()


def on_a_machine(test: Callable[[Machine], Awaitable[None]]) -> None:
    async def run() -> None:
        machine = Machine()
        try:
            await test(machine)
        finally:
            machine.close()

    asyncio.run(run())


def test_what_cannot_be_started_is_told_once_and_tried_until_it_can() -> None:
    async def test(machine: Machine) -> None:
        machine.crew.fill(["store.0", "agent.0"], Limits())
        await wait_until_async(lambda: machine.attempts > 4)
        assert machine.told == ["store.0", "agent.0"]
        assert not machine.crew.children
        machine.trouble = None
        await wait_until_async(lambda: len(machine.crew.children) == 2)

    on_a_machine(test)


def test_a_slot_that_was_empty_beyond_its_deadline_is_filled_all_the_same() -> None:
    async def test(machine: Machine) -> None:
        machine.crew.fill(["store.0"], Limits(boot=0.05), released=True)
        loop = asyncio.get_running_loop()
        deadline = machine.crew.deadline
        assert deadline is not None
        await wait_until_async(lambda: loop.time() > deadline)
        machine.crew.expire(loop.time())
        # There is nobody to be ended: it is started again like one that has
        assert machine.state("store.0") is State.BACKOFF
        machine.trouble = None
        again = machine.crew.deadline
        assert again is not None
        await wait_until_async(lambda: loop.time() > again)
        machine.crew.expire(loop.time())
        assert list(machine.crew.children) == ["store.0"]

    on_a_machine(test)


def test_a_slot_that_nobody_fills_is_gone_when_it_is_not_wanted_any_more() -> None:
    async def test(machine: Machine) -> None:
        machine.crew.fill(["web.0"], Limits(drain=0.0, stop=0.0))
        machine.crew.retire()
        machine.crew.expire(asyncio.get_running_loop().time())
        assert machine.crew.gone

    on_a_machine(test)
