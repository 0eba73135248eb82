"""A slot whose child cannot be had just now is filled when it can."""

import asyncio
import errno
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import Events, SlotChanged, WorkerStarted, WorkerStuck
from skep.supervisor.processes.slot import (
    Fact,
    SlotState,
    SlotTerms,
    SlotTimeouts,
    Succession,
    ordinary,
)
from skep.wire.channel import BlockingChannel, pair
from skep.wire.messages import Accepting, Boot, Drain, Prepared
from tests.support import wait_until_async
from tests.unit.supervisor.fakes import (
    FakeChild,
    FakeZygote,
    LogLines,
    fake_loop,
    ignore,
    pass_time,
    run,
    serve,
    worker,
)


class Machine:
    """Gives children as long as it has what they need; the test is the children."""

    def __init__(self) -> None:
        self.trouble: OSError | None = OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.attempts = 0
        self.children: list[BlockingChannel] = []
        self.log = LogLines()
        nothing: Any = lambda *_: None  # noqa: E731
        self.crew = Crew(0, self._launch, nothing, nothing, Events())

    def _launch(self, crew: Crew, slot: str) -> Child:
        self.attempts += 1
        if self.trouble is not None:
            raise self.trouble
        ours, theirs = pair()
        self.children.append(BlockingChannel(theirs))
        nothing: Any = lambda *_: None  # noqa: E731
        return Child(slot, 0, ours, nothing, nothing)

    def state(self, slot: str) -> SlotState | None:
        """How it stands with a slot."""
        return self.crew.slots[slot].state if slot in self.crew.slots else None

    def close(self) -> None:
        """Let go of all channels."""
        LogLines.close_all()
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
        machine.crew.fill(["store.0", "agent.0"], SlotTimeouts())
        await wait_until_async(lambda: machine.attempts > 4)
        assert machine.log.first_words("cannot be started") == ["store.0", "agent.0"]
        assert not machine.crew.children
        machine.trouble = None
        await wait_until_async(lambda: len(machine.crew.children) == 2)

    on_a_machine(test)


def test_a_slot_that_was_empty_beyond_its_deadline_is_filled_all_the_same() -> None:
    async def test(machine: Machine) -> None:
        machine.crew.fill(["store.0"], SlotTimeouts(boot=0.05), released=True)
        loop = asyncio.get_running_loop()
        deadline = machine.crew.deadline
        assert deadline is not None
        await wait_until_async(lambda: loop.time() > deadline)
        machine.crew.expire(loop.time())
        # There is nobody to be ended: it is started again like one that has
        assert machine.state("store.0") is SlotState.BACKOFF
        machine.trouble = None
        again = machine.crew.deadline
        assert again is not None
        await wait_until_async(lambda: loop.time() > again)
        machine.crew.expire(loop.time())
        assert list(machine.crew.children) == ["store.0"]

    on_a_machine(test)


def test_a_slot_that_nobody_fills_is_gone_when_it_is_not_wanted_any_more() -> None:
    async def test(machine: Machine) -> None:
        machine.crew.fill(["web.0"], SlotTimeouts(drain=0.0, stop=0.0))
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


def test_of_web_slots_that_fail_at_once_one_is_tried_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E3: never are all web slots empty on purpose."""

    async def test(machine: Machine) -> None:
        clock, slots = Clock(monkeypatch), ["web.0", "web.1", "web.2"]
        machine.trouble = None
        machine.crew.fill(slots, SlotTimeouts(), released=True)
        longest = empty = 0.0
        while clock.now < 1120.0:
            for slot in list(machine.crew.children):
                serve(machine.crew, slot)
                end(machine, slot)
            clock.now += 0.05
            machine.crew.expire(clock.now)
            empty = 0.0 if machine.crew.children else empty + 0.05
            longest = max(longest, empty)
        assert longest <= 0.6
        # One of them; the others wait longer and longer
        assert machine.attempts < 2.5 * 120
        assert sum(slot.state is SlotState.BACKOFF for slot in machine.crew.slots.values()) >= 2
        assert any("web in backoff" in trouble for trouble in machine.crew.troubles())
        # And when it holds, then the others follow
        for slot in list(machine.crew.children):
            end(machine, slot)
        clock.now += 40.0
        machine.crew.expire(clock.now)
        serve(machine.crew, *slots)
        assert len(machine.crew.accepting()) == 3

    on_a_machine(test)


def test_a_worker_that_served_is_replaced_at_once_beside_others_that_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E3: backoff only for workers that do not come up, or end at once."""

    async def test(machine: Machine) -> None:
        clock = Clock(monkeypatch)
        machine.trouble = None
        machine.crew.fill(["web.0", "web.1"], SlotTimeouts(), released=True)
        serve(machine.crew, "web.0")
        for _ in range(8):  # the other one never comes up
            end(machine, "web.1")
            clock.now += 40.0
            machine.crew.feed("web.0", Fact.BEAT)
            machine.crew.expire(clock.now)
        end(machine, "web.1")
        end(machine, "web.0")
        machine.crew.expire(clock.now)
        assert machine.state("web.0") is SlotState.STARTING
        assert machine.state("web.1") is SlotState.BACKOFF

    on_a_machine(test)


def test_a_platform_slot_is_filled_again_within_a_second_however_often_it_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D9: platform slots restart within a second, also when they are killed while they start."""

    async def test(machine: Machine) -> None:
        clock = Clock(monkeypatch)
        machine.trouble = None
        machine.crew.fill(["store.0"], SlotTimeouts(), released=True)
        serve(machine.crew, "store.0")
        for number in range(30):
            end(machine, "store.0")
            clock.now += 1.0
            machine.crew.expire(clock.now)
            assert machine.state("store.0") is SlotState.STARTING
            if number % 2:
                serve(machine.crew, "store.0")

    on_a_machine(test)


def test_a_slot_that_is_kept_is_filled_again_before_it_is_released() -> None:
    """D4: a loss between prepared and go is a crash like any other."""

    async def test(machine: Machine) -> None:
        machine.trouble = None
        machine.crew.fill(["web.0", "cron.0"], SlotTimeouts())
        for slot in ("web.0", "cron.0"):
            machine.crew.feed(slot, Fact.PREPARED)
        machine.crew.keep(["web.0", "cron.0"])
        for slot in ("web.0", "cron.0"):
            end(machine, slot)
        machine.crew.expire(asyncio.get_running_loop().time())
        assert sorted(machine.crew.children) == ["cron.0", "web.0"]
        machine.crew.release(["web.0"])
        machine.crew.feed("web.0", Fact.PREPARED)
        assert machine.state("web.0") is SlotState.GOING
        assert machine.crew.idle() == ["cron.0"]

    on_a_machine(test)


def test_what_workers_that_serve_lack_is_said_once_for_all_of_them() -> None:
    """D12: the condition of the platform names what does not work although it serves."""

    async def test(machine: Machine) -> None:
        machine.trouble = None
        machine.crew.fill(["web.0", "web.1", "web.2"], SlotTimeouts(), released=True)
        for slot in ("web.0", "web.2"):
            machine.crew.children[slot].trouble = "serves without push"
        assert machine.crew.troubles() == ["web.0, web.2: serves without push"]

    on_a_machine(test)


class Stage:
    """A crew on a clock of the test's own, and what it has told."""

    def __init__(
        self,
        *slots: str,
        limits: SlotTimeouts | None = None,
        released: bool = True,
        terms: Callable[[str], SlotTerms] = ordinary,
    ) -> None:
        self.events, self.log = Events(), LogLines()
        self.points: list[tuple[type, str]] = []
        self.events.subscribe(WorkerStarted, self._point)
        self.events.subscribe(WorkerStuck, self._point)
        self.error: OSError | None = None
        self.states: list[tuple[str, SlotState]] = []
        self.events.subscribe(
            SlotChanged,
            lambda event: self.states.append((event.name.partition("@")[0], event.state)),
        )
        self.gone_to: list[str] = []
        self.zygote = FakeZygote(1, {})
        self.crew = Crew(
            1,
            self._launch,
            lambda crew, child: self.gone_to.append(child.slot),
            lambda crew: None,
            self.events,
        )
        self.crew.fill(slots, limits or SlotTimeouts(), released=released, terms=terms)

    def _launch(self, crew: Crew, slot: str) -> Child | None:
        if self.error is not None:
            raise self.error
        boot = Boot(slot, "web", 1, "run", {})
        return self.zygote.fork(boot, ignore, lambda gone: ignore(crew.ended(gone)))

    def _point(self, event: WorkerStarted | WorkerStuck) -> None:
        self.points.append((type(event), event.child.slot))

    def worker(self, slot: str = "web.0") -> FakeChild:
        """The worker in a slot."""
        return worker(self.crew, slot)

    async def wait(self, seconds: float) -> None:
        """Let time pass, and have what is late by then."""
        await pass_time(seconds)
        self.crew.expire(fake_loop().now)
        await pass_time()


def test_a_worker_that_was_never_born_is_no_crash() -> None:
    async def test() -> None:
        stage = Stage("web.0")
        unborn = stage.worker()
        unborn.pid = 0  # its zygote died between the order and the fork
        assert not stage.crew.ended(unborn)
        slot = stage.crew.slots["web.0"]
        assert (slot.state, slot.exits, stage.crew.budgets) == (SlotState.STARTING, 0, {})
        # It is ordered again before long, without waiting as after a crash
        assert stage.crew.children == {}
        await pass_time(0.1)
        assert stage.worker() is not unborn
        serve(stage.crew, "web.0")
        assert stage.crew.ended(stage.worker())
        assert stage.crew.slots["web.0"].exits == 1

    run(test)


def test_a_born_worker_that_dies_while_it_starts_is_a_crash() -> None:
    async def test() -> None:
        stage = Stage("web.0")
        assert stage.crew.ended(stage.worker())
        slot = stage.crew.slots["web.0"]
        assert (slot.state, slot.failures) == (SlotState.BACKOFF, 1)
        assert stage.crew.budgets["web"].boots == 1

    run(test)


def test_an_unborn_worker_of_a_slot_that_is_not_wanted_any_more_is_not_ordered_again() -> None:
    async def test() -> None:
        stage = Stage("web.0")
        unborn = stage.worker()
        unborn.pid = 0
        stage.crew.retire()
        stage.crew.ended(unborn)
        await pass_time(1.0)
        assert stage.crew.gone
        # Nor one that was to be ordered again
        stage = Stage("web.0", limits=SlotTimeouts(drain=0.0, stop=0.0))
        unborn = stage.worker()
        unborn.pid = 0
        stage.crew.ended(unborn)
        stage.crew.retire()
        await stage.wait(1.0)
        assert stage.crew.gone
        assert len(stage.zygote.forked) == 1

    run(test)


def test_a_slot_has_one_worker_however_often_its_start_was_put_off() -> None:
    async def test() -> None:
        stage = Stage()
        stage.zygote.absent = True
        stage.crew.fill(["web.0"], SlotTimeouts(boot=60.0), released=True)
        await pass_time(60.0)
        stage.crew.expire(fake_loop().now)
        assert stage.crew.slots["web.0"].state is SlotState.BACKOFF
        stage.zygote.absent = False
        stage.crew.expire(fake_loop().now)
        assert len(stage.zygote.forked) == 1
        await pass_time(1.0)
        assert len(stage.zygote.forked) == 1

    run(test)


def test_each_time_that_no_worker_can_be_started_is_told_once() -> None:
    async def test() -> None:
        stage = Stage("web.0")
        for number in (1, 2):
            serve(stage.crew, "web.0")
            stage.error = OSError(errno.EAGAIN, "no process can be had")
            stage.worker().ends(signal.SIGKILL)
            for _ in range(3):
                await stage.wait(0.25)
            assert stage.log.first_words("cannot be started") == ["web.0"] * number
            stage.error = None
            await pass_time(0.25)

    run(test)


def test_what_a_late_child_has_said_is_heard_before_it_is_judged() -> None:
    async def test() -> None:
        stage = Stage("web.0")
        serve(stage.crew, "web.0")
        child = stage.worker()
        child.unheard = partial(stage.crew.feed, "web.0", Fact.BEAT)
        await stage.wait(31.0)
        assert (stage.crew.slots["web.0"].state, child.signals) == (SlotState.READY, [])

    run(test)


def test_a_worker_that_hangs_is_aborted_and_then_killed() -> None:
    async def test() -> None:
        stage = Stage("web.0")
        serve(stage.crew, "web.0")
        child = stage.worker()
        await stage.wait(30.0)
        assert (child.signals, child.stuck) == ([signal.SIGABRT], "hang")
        assert stage.points[-1] == (WorkerStuck, "web.0")
        await stage.wait(5.0)
        assert child.signals == [signal.SIGABRT, signal.SIGKILL]

    run(test)


def test_a_worker_that_drains_for_too_long_is_asked_and_then_killed() -> None:
    async def test() -> None:
        stage = Stage("web.0", limits=SlotTimeouts(drain=10.0, stop=2.0, kill=3.0))
        serve(stage.crew, "web.0")
        child = stage.worker()
        stage.crew.retire()
        assert (child.sent, child.dismissed) == ([Drain(10.0)], True)
        await stage.wait(11.9)
        assert child.signals == []
        await stage.wait(0.1)
        assert (child.signals, child.stuck) == ([signal.SIGTERM], "drain")
        await stage.wait(3.0)
        assert child.signals == [signal.SIGTERM, signal.SIGKILL]
        assert stage.crew.ended(child)
        assert stage.crew.gone

    run(test)


def test_a_stop_cuts_the_drain_of_tasks_short() -> None:
    async def test() -> None:
        stage = Stage("task.0", limits=SlotTimeouts(drain=10.0, task_drain=600.0, stop=2.0))
        serve(stage.crew, "task.0")
        child = stage.worker("task.0")
        stage.crew.retire()
        assert child.sent == [Drain(600.0)]
        stage.crew.cut_short()
        assert child.sent == [Drain(600.0), Drain(10.0)]
        assert stage.crew.deadline == fake_loop().now + 12.0

    run(test)


def test_workers_that_are_killed_are_not_replaced() -> None:
    async def test() -> None:
        stage = Stage("web.0", "web.1")
        serve(stage.crew, "web.0", "web.1")
        stage.crew.kill(["web.0"])
        assert [stage.worker(slot).killed for slot in ("web.0", "web.1")] == [True, False]
        stage.worker("web.0").ends(signal.SIGKILL)
        assert list(stage.crew.slots) == ["web.1"]
        stage.crew.kill()
        stage.worker("web.1").ends(signal.SIGKILL)
        assert stage.crew.gone

    run(test)


def test_a_worker_is_let_go_when_it_is_prepared_and_its_slot_is_released() -> None:
    async def test() -> None:
        stage = Stage("web.0", "web.1", released=False)
        stage.crew.feed("web.0", Fact.PREPARED)
        assert stage.gone_to == []
        assert stage.crew.idle() == ["web.0", "web.1"]
        stage.crew.release(["web.0", "web.1"])
        assert stage.gone_to == ["web.0"]
        assert stage.crew.idle() == ["web.1"]  # the other may have accepted before it says so
        stage.crew.feed("web.1", Fact.PREPARED)
        assert stage.gone_to == ["web.0", "web.1"]
        assert (stage.crew.accepting(), stage.crew.not_ready()) == ([], ["web.0", "web.1"])
        stage.crew.feed("web.0", Fact.ACCEPTING)
        assert stage.crew.accepting() == [stage.worker("web.0")]

    run(test)


def test_a_kind_is_ready_as_long_as_one_of_its_workers_is() -> None:
    async def test() -> None:
        stage = Stage("web.0", "web.1", "task.0")
        serve(stage.crew, "web.0", "web.1")
        assert stage.crew.readiness() == {"web": True, "task": False}
        stage.worker("web.1").unready = "the database is away"
        assert stage.crew.readiness() == {"web": True, "task": False}
        stage.worker("web.0").unready = "the database is away"
        assert stage.crew.readiness() == {"web": False, "task": False}
        stage.crew.retire(["task.0"])
        assert stage.crew.readiness() == {"web": False}

    run(test)


def test_every_change_of_state_is_told_once_all_slots_are_there() -> None:
    async def test() -> None:
        stage = Stage("web.0", "web.1")
        assert stage.states == [("web.0", SlotState.STARTING), ("web.1", SlotState.STARTING)]
        assert stage.points == [(WorkerStarted, "web.0"), (WorkerStarted, "web.1")]
        stage.states.clear()
        stage.crew.feed("web.0", Fact.BEAT)  # nothing new
        stage.crew.feed("web.7", Fact.PREPARED)  # unknown
        assert stage.states == []
        serve(stage.crew, "web.0")
        stage.crew.fill(["web.0", "web.1"], SlotTimeouts(), released=True)  # they are there
        assert (len(stage.points), stage.crew.accepting()) == (2, [stage.worker("web.0")])

    run(test)


# -- custom processes ------------------------------------------------------------------------------

FIRST, SECOND, THIRD = (f"process.p.{name}.0" for name in ("First", "Second", "Third"))


def in_order(slot: str) -> SlotTerms:
    """Each process has the one before it in its `after`."""
    before = {SECOND: "process.p.First", THIRD: "process.p.Second"}.get(slot)
    return SlotTerms(Succession.AFTER, vital=False, after=(before,) if before else ())


def test_processes_go_in_their_order() -> None:
    async def test() -> None:
        stage = Stage(THIRD, SECOND, FIRST, terms=in_order)
        for slot in (THIRD, SECOND, FIRST):
            stage.crew.feed(slot, Fact.PREPARED)
        assert stage.gone_to == [FIRST]
        stage.crew.feed(FIRST, Fact.ACCEPTING)
        assert stage.gone_to == [FIRST, SECOND]
        # One that is started again later waits for none
        stage.crew.feed(SECOND, Fact.ACCEPTING)
        stage.worker(FIRST).ends()
        stage.worker(SECOND).ends()
        stage.crew.expire(fake_loop().now)
        stage.crew.feed(SECOND, Fact.PREPARED)
        assert stage.gone_to == [FIRST, SECOND, THIRD, SECOND]

    run(test)


def test_a_process_waits_for_others_no_longer_than_they_may_take_to_boot() -> None:
    async def test() -> None:
        stage = Stage(SECOND, FIRST, terms=in_order, limits=SlotTimeouts(boot=60.0))
        stage.crew.feed(SECOND, Fact.PREPARED)
        assert stage.crew.deadline == fake_loop().now + 60.0
        await stage.wait(59.9)
        assert stage.gone_to == []
        await stage.wait(0.1)
        assert stage.gone_to == [SECOND]

    run(test)


def test_a_process_that_retires_while_it_waits_does_not_go() -> None:
    async def test() -> None:
        stage = Stage(SECOND, FIRST, terms=in_order)
        stage.crew.feed(SECOND, Fact.PREPARED)
        stage.crew.retire([SECOND])
        stage.worker(SECOND).ends(0)
        serve(stage.crew, FIRST)
        assert SECOND not in stage.gone_to
        assert stage.crew.deadline == stage.crew.slots[FIRST].deadline

    run(test)


def test_a_process_that_crashes_all_the_time_slows_no_other_down() -> None:
    async def test() -> None:
        often = SlotTerms(Succession.AFTER, vital=False, served=10.0)
        stage = Stage(FIRST, SECOND, terms=lambda slot: often)
        serve(stage.crew, SECOND)
        for _ in range(12):
            serve(stage.crew, FIRST)
            fake_loop().now += 9.0  # longer than a web worker that has served
            stage.worker(FIRST).ends(256)
            stage.crew.feed(SECOND, Fact.BEAT)
            deadline = stage.crew.slots[FIRST].deadline
            assert deadline is not None
            await stage.wait(deadline - fake_loop().now)
        stage.worker(FIRST).ends(256)
        stage.worker(SECOND).ends(256)
        assert stage.crew.slots[SECOND].deadline == fake_loop().now
        assert stage.crew.not_ready() == []
        assert stage.crew.troubles()[0].startswith("process.p.First in backoff")

    run(test)


def test_how_a_process_ended_is_known_and_one_that_failed_for_good_is_a_trouble() -> None:
    async def test() -> None:
        terms = SlotTerms(Succession.AFTER, "never", vital=False)
        stage = Stage(FIRST, SECOND, terms=lambda slot: terms)
        serve(stage.crew, FIRST, SECOND)
        stage.worker(FIRST).ends(256)
        stage.worker(SECOND).ends(0)
        states = {name: slot.state for name, slot in stage.crew.slots.items()}
        assert states == {FIRST: SlotState.FAILED, SECOND: SlotState.DONE}
        assert stage.crew.endings[FIRST].how == "exited with 1"
        assert stage.crew.troubles() == [f"{FIRST} exited with 1 and is not started again"]

    run(test)


def test_custom_processes_end_after_all_other_workers() -> None:
    async def test() -> None:
        stage = Stage("web.0", "task.0", FIRST, terms=lambda slot: SlotTerms(restart="always"))
        serve(stage.crew, "web.0", "task.0", FIRST)
        process = stage.worker(FIRST)
        stage.crew.retire()
        assert stage.worker("web.0").sent[-1] == Drain(30.0)
        stage.worker("web.0").ends(0)
        assert Drain(30.0) not in process.sent
        # It is started again as long as it may be needed
        process.ends(9)
        await stage.wait(0.0)
        assert stage.worker(FIRST) is not process
        serve(stage.crew, FIRST)
        stage.worker("task.0").ends(0)
        assert stage.worker(FIRST).sent[-1] == Drain(30.0)
        stage.worker(FIRST).ends(0)
        assert stage.crew.gone

    run(test)


def test_a_restart_by_hand_is_no_crash() -> None:
    async def test() -> None:
        stage = Stage(FIRST, terms=in_order)
        serve(stage.crew, FIRST)
        former = stage.worker(FIRST)
        stage.crew.restart([FIRST])
        assert former.sent[-1] == Drain(30.0)
        former.ends(0)
        assert stage.crew.budgets == {}
        await stage.wait(0.0)
        assert stage.worker(FIRST) is not former
        serve(stage.crew, FIRST)
        assert stage.crew.slots[FIRST].exits == 0

    run(test)


def test_a_required_process_is_ready_or_the_platform_is_not() -> None:
    async def test() -> None:
        stage = Stage(FIRST, SECOND, terms=lambda slot: SlotTerms(vital=slot == FIRST))
        serve(stage.crew, SECOND)
        assert stage.crew.not_ready() == [FIRST]
        assert stage.crew.readiness() == {"process.p.First": False}
        serve(stage.crew, FIRST)
        assert stage.crew.not_ready() == []

    run(test)


AFTER = {"process.p.Second": SlotTerms(after=("process.p.First",))}
LINE = ["process.p.First.0", *(f"process.p.Second.{n}" for n in range(3))]


@pytest.mark.parametrize("comes", [True, False])
def test_all_that_wait_for_a_process_go_when_it_has_accepted_or_is_late(comes: bool) -> None:
    async def test() -> None:
        stage = Stage(
            *LINE,
            limits=SlotTimeouts(boot=100, go=1000),
            released=False,
            terms=lambda name: AFTER.get(name.rpartition(".")[0], SlotTerms()),
        )
        for name in LINE:
            stage.crew.receive(stage.worker(name), Prepared())
        stage.crew.release(LINE)
        assert [stage.crew.slots[name].state for name in LINE[1:]] == [SlotState.PREPARED] * 3
        if comes:
            stage.crew.receive(stage.worker(LINE[0]), Accepting())
        else:
            await stage.wait(101)
        assert [stage.crew.slots[name].state for name in LINE[1:]] == [SlotState.GOING] * 3

    run(test)
