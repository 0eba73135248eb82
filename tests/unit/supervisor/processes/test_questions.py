"""Questions to several children at once."""

import asyncio

from skep.base.telemetry import Telemetry
from skep.supervisor.processes.questions import Questions
from skep.wire.messages import Flush, Flushed
from tests.unit.supervisor.fakes import child, pass_time, run


def test_answers_silence_and_the_end_of_a_child_are_told_apart() -> None:
    async def test() -> None:
        telemetry = Telemetry()
        questions = Questions(telemetry)
        answering, silent, ending = child("web.0"), child("web.1"), child("web.2")
        asking = asyncio.ensure_future(
            questions.ask((answering, silent, ending), Flush, timeout=1.0)
        )
        await pass_time()
        assert silent.sent == [Flush(1)]
        questions.told(answering, Flushed(1))
        questions.told(silent, Flushed(2))  # an answer to another question
        questions.told(child("web.3"), Flushed(1))  # from one that was not asked
        telemetry.point("worker.ended", child=ending, stopping=False)
        await pass_time(0.9)
        assert not asking.done()
        await pass_time(0.1)
        assert await asking == ({answering: Flushed(1)}, {silent})
        questions.told(silent, Flushed(1))  # too late

    run(test)


def test_the_question_ends_with_the_last_answer_and_without_children_at_once() -> None:
    async def test() -> None:
        questions = Questions(Telemetry())
        assert await questions.ask((), Flush, timeout=1.0) == ({}, set())
        worker = child("web.0")
        asking = asyncio.ensure_future(questions.ask([worker], Flush, timeout=1.0))
        await pass_time()
        questions.told(worker, Flushed(2))
        await pass_time()
        assert asking.result() == ({worker: Flushed(2)}, set())

    run(test)
