"""A slot whose child cannot be had just now is filled when it can."""

import asyncio
import errno
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skep.base.telemetry import Telemetry
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.slot import Fact, Limits, State
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


class Clock:
    """Stands for the time of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


def end(machine: Machine, slot: str) -> None:
    """The child in a slot is killed by somebody."""
    child = machine.crew.children[slot]
    child.pid = child.pid or 1  # it had been born
    child.status = signal.SIGKILL
    machine.crew.ended(child)


def serve(machine: Machine, *slots: str) -> None:
    """The children in these slots come up."""
    for slot in slots:
        machine.crew.feed(slot, Fact.PREPARED)
        machine.crew.feed(slot, Fact.ACCEPTING)


def test_e3_of_web_slots_that_fail_at_once_one_is_tried_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E3: never are all web slots empty on purpose."""

    async def test(machine: Machine) -> None:
        clock, slots = Clock(monkeypatch), ["web.0", "web.1", "web.2"]
        machine.trouble = None
        machine.crew.fill(slots, Limits(), released=True)
        longest = empty = 0.0
        while clock.now < 1120.0:
            for slot in list(machine.crew.children):
                serve(machine, slot)
                end(machine, slot)
            clock.now += 0.05
            machine.crew.expire(clock.now)
            empty = 0.0 if machine.crew.children else empty + 0.05
            longest = max(longest, empty)
        assert longest <= 0.6
        # One of them; the others wait longer and longer
        assert machine.attempts < 2.5 * 120
        assert sum(slot.state is State.BACKOFF for slot in machine.crew.slots.values()) >= 2
        assert any("web in backoff" in trouble for trouble in machine.crew.troubles())
        # And when it holds, then the others follow
        for slot in list(machine.crew.children):
            end(machine, slot)
        clock.now += 40.0
        machine.crew.expire(clock.now)
        serve(machine, *slots)
        assert len(machine.crew.accepting()) == 3

    on_a_machine(test)


def test_e3_a_worker_that_served_is_replaced_at_once_beside_others_that_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E3: backoff only for workers that do not come up, or end at once."""

    async def test(machine: Machine) -> None:
        clock = Clock(monkeypatch)
        machine.trouble = None
        machine.crew.fill(["web.0", "web.1"], Limits(), released=True)
        serve(machine, "web.0")
        for _ in range(8):  # the other one never comes up
            end(machine, "web.1")
            clock.now += 40.0
            machine.crew.feed("web.0", Fact.BEAT)
            machine.crew.expire(clock.now)
        end(machine, "web.1")
        end(machine, "web.0")
        machine.crew.expire(clock.now)
        assert machine.state("web.0") is State.STARTING
        assert machine.state("web.1") is State.BACKOFF

    on_a_machine(test)


def test_d9_a_platform_slot_is_filled_again_within_a_second_however_often_it_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D9: platform slots restart within a second, also when they are killed while they start."""

    async def test(machine: Machine) -> None:
        clock = Clock(monkeypatch)
        machine.trouble = None
        machine.crew.fill(["store.0"], Limits(), released=True)
        serve(machine, "store.0")
        for number in range(30):
            end(machine, "store.0")
            clock.now += 1.0
            machine.crew.expire(clock.now)
            assert machine.state("store.0") is State.STARTING
            if number % 2:
                serve(machine, "store.0")

    on_a_machine(test)


def test_d4_a_slot_that_is_kept_is_filled_again_before_it_is_released() -> None:
    """D4: a loss between prepared and go is a crash like any other."""

    async def test(machine: Machine) -> None:
        machine.trouble = None
        machine.crew.fill(["web.0", "cron.0"], Limits())
        for slot in ("web.0", "cron.0"):
            machine.crew.feed(slot, Fact.PREPARED)
        machine.crew.keep(["web.0", "cron.0"])
        for slot in ("web.0", "cron.0"):
            end(machine, slot)
        machine.crew.expire(asyncio.get_running_loop().time())
        assert sorted(machine.crew.children) == ["cron.0", "web.0"]
        machine.crew.release(["web.0"])
        machine.crew.feed("web.0", Fact.PREPARED)
        assert machine.state("web.0") is State.GOING
        assert machine.crew.idle() == ["cron.0"]

    on_a_machine(test)


def test_d12_what_workers_that_serve_lack_is_said_once_for_all_of_them() -> None:
    """D12: the condition of the platform names what does not work although it serves."""

    async def test(machine: Machine) -> None:
        machine.trouble = None
        machine.crew.fill(["web.0", "web.1", "web.2"], Limits(), released=True)
        for slot in ("web.0", "web.2"):
            machine.crew.children[slot].trouble = "serves without push"
        assert machine.crew.troubles() == ["web.0, web.2: serves without push"]

    on_a_machine(test)
