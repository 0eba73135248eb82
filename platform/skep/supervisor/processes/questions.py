"""Questions to children that answer with the number of the question."""

import asyncio
import itertools
from collections.abc import Callable, Iterable

from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import WorkerEnded
from skep.wire.messages import Changed, CronAnswer, Delivered, Flushed, Message, Traced

Answer = Changed | CronAnswer | Delivered | Flushed | Traced


class _Question:
    def __init__(self, children: Iterable[Child]) -> None:
        self.missing = set(children)
        self.answers: dict[Child, Answer] = {}
        self.complete = asyncio.Event()

    def drop(self, child: Child) -> None:
        self.missing.discard(child)
        if not self.missing:
            self.complete.set()


class Questions:
    """The questions that are open. A child that ends is not waited for."""

    def __init__(self, children: Children) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, _Question] = {}
        children.on(Changed, self._take)
        children.on(CronAnswer, self._take)
        children.on(Delivered, self._take)
        children.on(Flushed, self._take)
        children.on(Traced, self._take)
        children.events.subscribe(WorkerEnded, self._gone)

    async def ask(
        self, children: Iterable[Child], make: Callable[[int], Message], timeout: float
    ) -> tuple[dict[Child, Answer], set[Child]]:
        """Send `make(number)` to each child; return the answers, and the children that live and
        have not answered within `timeout` seconds."""
        number, question = next(self._numbers), _Question(children)
        self._open[number] = question
        for child in list(question.missing):
            child.send(make(number))
        try:
            async with asyncio.timeout(timeout):
                if question.missing:
                    await question.complete.wait()
        except TimeoutError:
            pass  # the answers of the others are still useful
        finally:
            del self._open[number]
        return question.answers, question.missing

    def _take(self, child: Child, message: Answer) -> None:
        question = self._open.get(message.number)
        if question is not None and child in question.missing:
            question.answers[child] = message
            question.drop(child)

    def _gone(self, event: WorkerEnded) -> None:
        for question in self._open.values():
            question.drop(event.child)
