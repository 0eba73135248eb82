"""A change that needs no new worker."""

import asyncio
import threading
from dataclasses import replace
from typing import Any, cast

import pytest

from skep.base.errors import ConfigError
from skep.config.options.table import Options
from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import Events, WorkerEnded
from skep.supervisor.processes.questions import Questions
from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout.live_change import LiveChange
from skep.wire.messages import Change, Changed
from skep.wire.plan import Problem
from tests.unit.supervisor.fakes import (
    FakeZygote,
    child,
    configuration,
    generation,
    ignore,
    pass_time,
    run,
    worker,
)


@pytest.mark.parametrize(
    ("error", "text"), [(ConfigError("it is full"), "it is full"), (OSError(), "OSError()")]
)
def test_a_change_that_cannot_be_written_is_refused_and_the_next_can_begin(
    error: Exception, text: str
) -> None:
    """B1."""
    ended: list[Any] = []

    class Full(Configurations):
        def __init__(self) -> None:
            """It has no files."""

        def commit(self, configuration: Configuration) -> None:
            assert threading.current_thread() is not threading.main_thread()
            if not ended:
                raise error

    async def main() -> None:
        questions = Questions(Children(Events(), ignore))
        for number in ("2", "3"):
            new = configuration({"A": number})
            change = LiveChange(RolloutRequest("config"), generation(), new)
            ended.append(await change.carry_out(Full(), questions))

    asyncio.run(main())
    assert isinstance(ended[0], Problem)
    assert (str(ended[0]), ended[1]) == (text, "")


class Disk(Configurations):
    """Keeps what is applied."""

    def __init__(self, committed: list[Configuration]) -> None:
        self._committed = committed

    def commit(self, configuration: Configuration) -> None:
        self._committed.append(configuration)


class Talk:
    """A live change of a generation, and how it has ended."""

    def __init__(self, *slots: str, options: Options | None = None) -> None:
        self.committed: list[Configuration] = []
        self.ended: list[tuple[str, object]] = []
        self.events = Events()
        self.children = Children(self.events, ignore)
        self.questions = Questions(self.children)
        self.generation = generation(*slots, settings=configuration({"A": "1", "B": "1"}))
        self.crew = self.generation.crew
        self.new = configuration({"A": "2"}, options)
        self.begin()

    def begin(self) -> None:
        """Begin the change."""
        change = LiveChange(RolloutRequest("config"), self.generation, self.new)
        self.going = asyncio.ensure_future(self._carry_out(change))

    @property
    def busy(self) -> bool:
        """Whether it goes on."""
        return not self.going.done()

    async def _carry_out(self, change: LiveChange) -> None:
        failure = await change.carry_out(Disk(self.committed), self.questions)
        if isinstance(failure, Problem):
            self.ended.append(("refused", failure))
        elif failure:
            self.ended.append(("objected", failure))
        else:
            self.ended.append(("done", change.written_at > 0))

    def sent(self, slot: str) -> list[Change]:
        """What a worker was sent of the change."""
        return [m for m in worker(self.crew, slot).sent if isinstance(m, Change)]

    def gone(self, child: Child) -> None:
        """A child has ended."""
        self.events.publish(WorkerEnded(child, stopping=False))

    async def answer(self, *slots: str, number: int = 0, objection: str = "") -> None:
        """These workers answer the question that was put last, or that with this number."""
        for slot in slots:
            answer = Changed(
                number or self.sent(slot)[-1].number,
                apply=bool(self.committed),
                objection=objection,
            )
            self.children.take(worker(self.crew, slot), answer)
        await pass_time()


def test_all_are_asked_then_it_is_written_and_then_all_are_told() -> None:
    async def test() -> None:
        debug = Options(log_level="debug")
        talk = Talk("web.0", "task.0", options=debug)
        await pass_time()
        question = Change(1, {"A": "2", "B": None}, apply=False, log_level="debug")
        assert talk.sent("web.0") == talk.sent("task.0") == [question]
        await talk.answer("web.0")
        assert talk.committed == []
        await talk.answer("task.0")
        assert talk.committed == [talk.new]
        assert (
            talk.sent("web.0")[1:]
            == talk.sent("task.0")[1:]
            == [replace(question, number=2, apply=True)]
        )
        await talk.answer("web.0")
        assert (talk.ended, talk.busy) == ([], True)
        await talk.answer("task.0")
        assert (talk.ended, talk.busy) == ([("done", True)], False)

    run(test)


def test_the_zygote_is_asked_too_for_those_it_forks_later() -> None:
    async def test() -> None:
        talk = Talk()
        assert talk.generation.zygote.children == []
        zygote = child("zygote")
        cast(FakeZygote, talk.generation.zygote).children = [zygote]
        await pass_time()
        assert zygote.sent == [Change(1, {"A": "2", "B": None}, apply=False)]
        talk.children.take(zygote, Changed(1, False, "a thread runs"))
        await pass_time()
        assert talk.ended == [("objected", "zygote@1: a thread runs")]

    run(test)


def test_an_objection_before_the_commit_leaves_the_disk_alone() -> None:
    async def test() -> None:
        talk = Talk("web.0", "web.1")
        await pass_time()
        await talk.answer("web.0", objection="A is not of its Settings")
        assert talk.ended == []  # the answers of all are waited for
        await talk.answer("web.1", objection="nor here")
        assert talk.ended == [("objected", "web.0@1: A is not of its Settings")]
        assert talk.committed == []

    run(test)


def test_silence_is_no_consent() -> None:
    async def test() -> None:
        talk = Talk("web.0", "web.1")
        await pass_time()
        await talk.answer("web.0")
        await pass_time(1.9)
        assert talk.ended == []
        await pass_time(0.1)
        assert talk.ended == [("objected", "web.1@1 did not answer within 2 s.")]
        assert (talk.committed, talk.busy) == ([], False)

    run(test)


def test_an_objection_and_silence_after_the_commit_take_a_rollout() -> None:
    async def test() -> None:
        for last in ("objects", "is silent"):
            talk = Talk("web.0")
            await pass_time()
            await talk.answer("web.0")
            assert talk.committed == [talk.new]
            if last == "objects":
                await talk.answer("web.0", objection="its hook raised")
                assert talk.ended == [("objected", "web.0@1: its hook raised")]
            else:
                await pass_time(2.0)
                assert talk.ended == [("objected", "web.0@1 did not answer within 2 s.")]

    run(test)


def test_who_ends_before_it_answers_has_a_successor_that_is_born_with_the_change() -> None:
    async def test() -> None:
        talk = Talk("web.0", "web.1")
        await pass_time()
        await talk.answer("web.0")
        talk.gone(worker(talk.crew, "web.1"))
        await pass_time()
        assert talk.committed == [talk.new]

    run(test)


def test_an_answer_to_an_earlier_change_is_none_to_this_one() -> None:
    async def test() -> None:
        talk = Talk("web.0")
        await pass_time()
        await pass_time(2.0)
        assert [word for word, _ in talk.ended] == ["objected"]
        talk.begin()
        await pass_time()
        await talk.answer("web.0", number=1)
        assert talk.committed == []
        await talk.answer("web.0", number=2)
        assert talk.committed == [talk.new]

    run(test)


def test_who_was_not_asked_cannot_object() -> None:
    async def test() -> None:
        talk = Talk("web.0")
        await pass_time()
        talk.children.take(child("web.1"), Changed(1, False, "I was born later"))
        await talk.answer("web.0")
        assert talk.committed == [talk.new]
        await talk.answer("web.0")
        talk.children.take(child("web.1"), Changed(1, True, "too late"))
        talk.gone(child("web.1"))
        assert talk.ended == [("done", True)]

    run(test)


def test_a_zygote_that_ends_before_it_answers_takes_a_rollout() -> None:
    async def test() -> None:
        talk = Talk()
        zygote = child("zygote")
        cast(FakeZygote, talk.generation.zygote).children = [zygote]
        await pass_time()
        talk.gone(zygote)
        await pass_time()
        assert talk.ended == [("objected", "zygote@1 did not answer within 2 s.")]

    run(test)
