"""Ask the workers what makes them grow."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from skep.base.errors import PlatformError
from skep.base.telemetry import Telemetry
from skep.supervisor.processes.child import Child
from skep.wire.messages import Message, Trace, Traced

LONGEST = 3600.0
_WORKERS = ("web", "task", "cron", "process")
# Comparing the snapshots of a large worker takes its time.
_PATIENCE = 20.0


@dataclass
class _Round:
    missing: set[Child]
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[dict[str, Any]] = field(default_factory=list)


class Memory:
    """Rounds of questions to the workers among the children that live."""

    def __init__(self, children: Iterable[Child], telemetry: Telemetry) -> None:
        self._children = children
        telemetry.subscribe("worker.ended", lambda fields: self._gone(fields["child"]))
        self._number = 0
        self._rounds: dict[int, _Round] = {}

    async def trace(self, seconds: float, top: int) -> list[dict[str, Any]]:
        """Return, per worker, its memory and the lines of source behind its growth.

        A worker that ends meanwhile, or whose loop is blocked, is not among them. Raises
        PlatformError when the time is no time to wait for.
        """
        if not 0 < seconds <= LONGEST:
            raise PlatformError(f"{seconds:g} s is no time to watch; it takes 0 to {LONGEST:g} s.")
        self._number += 1
        workers = {child for child in self._children if child.slot.partition(".")[0] in _WORKERS}
        number, asked = self._number, _Round(set(workers))
        self._rounds[number] = asked
        for child in workers:
            child.send(Trace(number, seconds, top))
        try:
            async with asyncio.timeout(seconds + _PATIENCE):
                if asked.missing:
                    await asked.complete.wait()
        except TimeoutError:
            pass  # the answers of the others are worth having
        finally:
            del self._rounds[number]
        return sorted(asked.answers, key=lambda answer: str(answer["worker"]))

    def told(self, child: Child, answer: Message) -> None:
        """A worker has said something: perhaps it is its answer."""
        if not isinstance(answer, Traced):
            return
        asked = self._rounds.get(answer.number)
        if asked is not None and child in asked.missing:
            asked.answers.append(
                {
                    "worker": child.name,
                    "pid": child.pid,
                    "resident": answer.resident,
                    "growth": answer.growth,
                }
            )
            self._drop(asked, child)

    def _gone(self, child: Child) -> None:
        """Nobody waits for a worker that has ended."""
        for asked in self._rounds.values():
            self._drop(asked, child)

    def _drop(self, asked: _Round, child: Child) -> None:
        asked.missing.discard(child)
        if not asked.missing:
            asked.complete.set()
