"""Questions to several children at once."""

import asyncio

from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import Events, WorkerEnded
from skep.supervisor.processes.questions import Questions
from skep.wire.messages import Flush, Flushed
from tests.unit.supervisor.fakes import child, ignore, pass_time, run


def test_answers_silence_and_the_end_of_a_child_are_told_apart() -> None:
    async def test() -> None:
        events = Events()
        children = Children(events, ignore)
        questions = Questions(children)
        answering, silent, ending = child("web.0"), child("web.1"), child("web.2")
        asking = asyncio.ensure_future(
            questions.ask((answering, silent, ending), Flush, timeout=1.0)
        )
        await pass_time()
        assert silent.sent == [Flush(1)]
        children.take(answering, Flushed(1))
        children.take(silent, Flushed(2))  # an answer to another question
        children.take(child("web.3"), Flushed(1))  # from one that was not asked
        events.publish(WorkerEnded(ending, stopping=False))
        await pass_time(0.9)
        assert not asking.done()
        await pass_time(0.1)
        assert await asking == ({answering: Flushed(1)}, {silent})
        children.take(silent, Flushed(1))  # too late

    run(test)


def test_the_question_ends_with_the_last_answer_and_without_children_at_once() -> None:
    async def test() -> None:
        children = Children(Events(), ignore)
        questions = Questions(children)
        assert await questions.ask((), Flush, timeout=1.0) == ({}, set())
        worker = child("web.0")
        asking = asyncio.ensure_future(questions.ask([worker], Flush, timeout=1.0))
        await pass_time()
        children.take(worker, Flushed(2))
        await pass_time()
        assert asking.result() == ({worker: Flushed(2)}, set())

    run(test)
