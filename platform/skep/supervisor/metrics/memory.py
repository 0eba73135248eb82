"""Ask the workers what makes them grow."""

from collections.abc import Iterable
from typing import Any

from skep.base.errors import PlatformError
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.questions import Questions
from skep.wire.messages import Trace, Traced

LONGEST = 3600.0
_WORKERS = ("web", "task", "cron", "process")
# Comparing the snapshots of a large worker takes its time.
_PATIENCE = 20.0


async def trace(
    children: Iterable[Child], questions: Questions, seconds: float, top: int
) -> list[dict[str, Any]]:
    """Return, per worker, its memory and the lines of source behind its growth.

    A worker that ends before it answers, or whose loop is blocked, is not in the list. Raises
    PlatformError when `seconds` is out of range.
    """
    if not 0 < seconds <= LONGEST:
        raise PlatformError(f"{seconds:g} s is no time to watch; it takes 0 to {LONGEST:g} s.")
    workers = [child for child in children if child.slot.partition(".")[0] in _WORKERS]
    answers, _ = await questions.ask(
        workers, lambda number: Trace(number, seconds, top), seconds + _PATIENCE
    )
    rows = [
        {
            "worker": child.name,
            "pid": child.pid,
            "resident": answer.resident,
            "growth": answer.growth,
        }
        for child, answer in answers.items()
        if isinstance(answer, Traced)
    ]
    return sorted(rows, key=lambda row: str(row["worker"]))
