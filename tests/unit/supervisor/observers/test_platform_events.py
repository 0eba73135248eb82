"""News: given to one worker at a time until it is noted."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from skep.supervisor.observers.platform_events import PlatformEvents
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import Events, RolloutReported, SlotChanged, WorkerEnded
from skep.supervisor.processes.questions import Questions
from skep.supervisor.processes.slot import SlotState
from skep.supervisor.request import KeyChange, Outcome, Report, RolloutRequest
from skep.wire.channel import BlockingChannel
from skep.wire.messages import Happened, Noted


@dataclass
class Office:
    """News over real channels to workers that only listen."""

    events: Events = field(default_factory=Events)

    def __post_init__(self) -> None:
        nothing: Any = lambda *_: None  # noqa: E731
        self.crew: Any = Crew(3, nothing, nothing, nothing, self.events)
        self.children = Children(self.events, nothing)
        self.questions = Questions(self.children)
        self.open = ExitStack()
        self.news = PlatformEvents(
            lambda: SimpleNamespace(crew=self.crew),  # type: ignore[arg-type, return-value]
            self.children,
        )

    def worker(self, slot: str) -> tuple[Child, BlockingChannel]:
        """A worker that accepts."""
        ours, theirs = socket.socketpair()
        child = Child(slot, 3, ours, lambda *_: None, lambda _: None)
        channel = BlockingChannel(theirs)
        self.open.callback(child._channel.close)
        self.open.callback(channel.close)
        self.crew.children[slot] = child
        self.crew.slots[slot] = SimpleNamespace(state=SlotState.READY)
        self.events.publish(SlotChanged(slot, SlotState.READY))
        return child, channel

    def ended(self, child: Child, status: int = signal.SIGKILL, stopping: bool = False) -> None:
        """It is gone, unasked."""
        self.crew.children.pop(child.slot, None)
        child.pid, child.status = 4711, status
        self.events.publish(WorkerEnded(child, stopping))


async def heard(channel: BlockingChannel) -> Happened:
    message, _ = await asyncio.to_thread(channel.receive)
    assert isinstance(message, Happened)
    return message


def in_an_office(test: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        office = Office()
        with office.open:
            await test(office)

    asyncio.run(run())


def test_news_waits_for_a_worker_that_accepts_and_goes_where_tasks_run() -> None:
    async def test(office: Office) -> None:
        office.news.happened("ConfigChanged", {"live": True})
        _, web = office.worker("web.0")
        first = await heard(web)
        assert (first.event, first.fields) == ("ConfigChanged", {"live": True})
        _, task = office.worker("task.0")
        office.news.happened("ConfigChanged", {"live": False})
        assert (await heard(task)).number == first.number + 1

    in_an_office(test)


def test_what_a_worker_did_not_note_before_it_ended_another_is_given() -> None:
    async def test(office: Office) -> None:
        one, channel = office.worker("task.0")
        for live in (True, False):
            office.news.happened("ConfigChanged", {"live": live})
        noted, lost = await heard(channel), await heard(channel)
        office.children.take(one, Noted(noted.number))
        _, other = office.worker("task.1")
        office.ended(one)
        # The same piece under the same number, and that of the death
        told = [await heard(other), await heard(other)]
        assert sorted(piece.event for piece in told) == ["ConfigChanged", "WorkerExited"]
        assert lost in told

    in_an_office(test)


def test_only_deaths_that_nobody_asked_for_are_news() -> None:
    async def test(office: Office) -> None:
        _, channel = office.worker("task.0")
        asked, _ = office.worker("web.0")
        asked.dismissed = True
        office.ended(asked, 0)
        stopping, _ = office.worker("web.1")
        office.ended(stopping, stopping=True)
        unasked, _ = office.worker("web.2")
        office.ended(unasked, 3 << 8)
        assert os.WEXITSTATUS(3 << 8) == 3
        assert (await heard(channel)).fields == {
            "slot": "web.2",
            "generation": 3,
            "pid": 4711,
            "exit_code": 3,
            "signal": "",
        }

    in_an_office(test)


def test_another_configuration_in_force_is_news_and_one_that_was_refused_is_not() -> None:
    async def test(office: Office) -> None:
        _, channel = office.worker("task.0")
        request = RolloutRequest(
            "config", changes=(KeyChange("COLOUR", "red", "amber", "remote", "live"),)
        )
        for outcome, generation in (("refused", 3), ("live", 3), ("committed", 4)):
            report = Report(
                cast(Outcome, outcome), generation, "config", "", 0.0, release_keys=(("app", "k2"),)
            )
            office.events.publish(RolloutReported(request, report))
        told = [await heard(channel) for _ in range(3)]
        expected = {"changed": ["COLOUR"], "release_keys": {"app": "k2"}}
        assert [(piece.event, piece.fields) for piece in told] == [
            ("ConfigChanged", {**expected, "generation": 3, "live": True}),
            ("ConfigChanged", {**expected, "generation": 4, "live": False}),
            ("GenerationCommitted", {"generation": 4, "cause": "config"}),
        ]
        # And without a change of values there is but the generation
        office.events.publish(RolloutReported(RolloutRequest("code"), report))
        assert (await heard(channel)).event == "GenerationCommitted"

    in_an_office(test)
