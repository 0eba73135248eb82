"""Which hooks are called when; each call is a process of its own that the test plays."""

import asyncio
from signal import SIGKILL
from typing import Any, cast

import pytest

from skep.supervisor.generation import Generation
from skep.supervisor.observers.hooks import HookCalls
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import (
    Events,
    RolloutBegan,
    RolloutReported,
    WorkerEnded,
)
from skep.supervisor.request import Outcome, Report, RolloutRequest
from skep.supervisor.rollout.execution import FirstGenerationPrepared
from skep.wire.messages import Hello
from skep.wire.plan import Plan
from tests.unit.supervisor.fakes import FakeChild, FakeZygote, child, generation, pass_time, run


class Registry:
    """Stands for the children of the supervisor."""

    def __init__(self) -> None:
        self.living: list[Child] = []
        self.events = Events()

    def take(self, child: Child, message: object) -> None:
        self.living.append(child)

    def drop(self, child: Child) -> None:
        if child in self.living:
            self.living.remove(child)


class Desk:
    """The calls for a generation whose plugins have these hooks."""

    def __init__(self, *hooks: str) -> None:
        self.registry = Registry()
        self.events = self.registry.events
        self.current: Generation | None = generation(number=3, plan=Plan(hooks=hooks))
        self.zygote = cast(FakeZygote, self.current.zygote)
        self.hooks = HookCalls(lambda: self.current, cast(Children, self.registry))

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The hooks that have been called, and what each was told."""
        boots = [boot for boot, _ in self.zygote.forked]
        return [(boot.facts["hook"], boot.facts["info"]) for boot in boots]

    @property
    def processes(self) -> list[FakeChild]:
        """The processes for them."""
        return [process for _, process in self.zygote.forked]

    def prepare(self) -> FirstGenerationPrepared:
        """The first generation is prepared."""
        assert self.current is not None
        event = FirstGenerationPrepared(self.current)
        self.events.publish(event)
        return event

    def lose(self, gone: Child, *, stopping: bool = False) -> list[str]:
        """A child ends; return which hooks are called for that."""
        self.zygote.forked.clear()
        gone.status = SIGKILL
        self.events.publish(WorkerEnded(gone, stopping))
        return [hook for hook, _ in self.calls]


def test_a_worker_that_was_told_to_go_is_no_error() -> None:
    async def test() -> None:
        desk = Desk("worker_exit", "worker_error")
        crashed, dismissed = child("web.0"), child("web.0")
        dismissed.dismissed = True
        assert desk.lose(crashed) == ["worker_exit", "worker_error"]
        slot, how = desk.calls[0][1]["slot"], desk.calls[0][1]["signal"]
        assert (slot, how) == ("web.0", "SIGKILL")
        assert desk.lose(dismissed) == ["worker_exit"]
        assert desk.lose(child("web.0"), stopping=True) == ["worker_exit"]

    run(test)


def test_only_workers_that_had_been_born_exit() -> None:
    async def test() -> None:
        desk = Desk("worker_exit", "worker_error")
        for other in (child("web.0", pid=0), child("agent.0", 0), child("zygote")):
            assert desk.lose(other) == []

    run(test)


def test_a_hook_that_no_plugin_has_starts_no_process() -> None:
    async def test() -> None:
        desk = Desk("worker_error")
        assert desk.lose(child("web.0")) == ["worker_error"]
        desk.prepare()
        assert [hook for hook, _ in desk.calls] == ["worker_error"]
        desk.current = None
        assert desk.lose(child("web.0")) == []

    run(test)


@pytest.mark.parametrize(
    ("cause", "outcome", "is_told"),
    [
        ("config", "committed", True),
        ("code", "refused", True),
        ("rollback", "rolled back", True),
        ("config", "live", False),
        ("cli", "unchanged", False),
        ("start", "committed", False),
    ],
)
def test_hooks_are_told_before_and_after_a_rollout(
    cause: Any, outcome: Outcome, is_told: bool
) -> None:
    async def test() -> None:
        desk = Desk("before_reload", "after_reload")
        desk.events.publish(RolloutBegan(4, RolloutRequest(cause, "a release")))
        before = {"generation": 4, "cause": cause, "reason": "a release"}
        assert desk.calls == [("before_reload", before)]
        report = Report(outcome, 4, cause, "a release", 0.0)
        desk.events.publish(RolloutReported(RolloutRequest(cause), report))
        after = [("after_reload", before | {"outcome": outcome})]
        assert desk.calls[1:] == (after if is_told else [])

    run(test)


def test_a_call_waits_for_a_zygote_that_is_being_replaced() -> None:
    async def test() -> None:
        desk = Desk("server_start")
        desk.zygote.absent = True
        desk.prepare()
        await pass_time(0.1)
        assert desk.calls == []
        desk.zygote.absent = False
        await pass_time(0.1)
        assert [hook for hook, _ in desk.calls] == ["server_start"]

    run(test)


def test_the_first_generation_waits_for_server_start() -> None:
    async def test() -> None:
        desk = Desk("server_start")
        event = desk.prepare()
        waiting = asyncio.ensure_future(event.before[0]())
        await pass_time(1.0)
        assert not waiting.done()
        desk.processes[0].ends(0)
        await pass_time(0.1)
        assert waiting.done()
        assert Desk("server_stop").prepare().before == []

    run(test)


def test_the_stop_waits_for_the_calls() -> None:
    async def test() -> None:
        desk = Desk("server_start", "server_stop")
        desk.prepare()
        goodbye = asyncio.create_task(desk.hooks.say_goodbye())
        await pass_time(0.01)
        assert [(hook, info["generation"]) for hook, info in desk.calls] == [
            ("server_start", 3),
            ("server_stop", 3),
        ]
        start, stop = desk.processes
        start.says(Hello(start.pid))
        assert desk.registry.living == [start]
        start.ends(0)
        await pass_time(0.01)
        assert (desk.registry.living, goodbye.done()) == ([], False)
        # Its end is that of a process that was let go, not of a worker that crashed
        assert start.dismissed
        stop.ends(0)
        await pass_time(0.01)
        assert goodbye.done()

    run(test)


def test_a_call_that_does_not_end_is_killed() -> None:
    async def test() -> None:
        desk = Desk("server_start")
        desk.prepare()
        [start] = desk.processes
        await pass_time(59.0)
        assert not start.killed
        await pass_time(1.0)
        assert start.killed

    run(test)
