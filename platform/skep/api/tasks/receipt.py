"""What one who has delivered something holds in hand."""

import json
from dataclasses import dataclass
from typing import Any

from skep.api.tasks.payload import is_text
from skep.base.errors import EngineError
from skep.engine import binding
from skep.engine.base import Result
from skep.engine.ids import check_delay


class TaskFailed(EngineError):
    """A task whose result was waited for has become a dead letter; the text is its last error."""


class TaskCancelled(EngineError):
    """A task whose result was waited for was cancelled."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The platform's word that a delivery is kept; `id` is its name from now on.

    With `duplicate` nothing was added: another delivery with the same unique key is on its way or
    at work, and `id` is that one's.
    """

    id: str
    duplicate: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError when `id` is not the text that a delivery is called by."""
        if not (is_text(self.id) and self.id):
            raise ValueError(f"The id of a receipt is {self.id!r}: it must be a text.")

    async def result(self, timeout: float = 60.0) -> Any:
        """Wait for what `handle` returns, as JSON gives it back, for `timeout` seconds at most.

        Only for tasks with `keep_result`. Raises TimeoutError when it has not ended by then,
        TaskFailed when it has become a dead letter, TaskCancelled when it was cancelled,
        EngineError when its result is not, or no longer, kept, ValueError when `timeout` is not a
        number of seconds between 0 and a hundred years.
        """
        check_delay(timeout, "timeout")
        engine = (await binding.reach()).engine
        found = await engine.result(self.id, timeout)
        if found is None and await engine.find(self.id) is not None:
            raise TimeoutError(f"The delivery {self.id} did not end within {timeout:g} s.")
        # It may have ended between the two questions.
        return _value(self.id, found or await engine.result(self.id))

    def result_sync(self, timeout: float = 60.0) -> Any:
        """Do what `result` does, from a thread."""
        return binding.wait_for(self.result(timeout))

    async def cancel(self) -> bool:
        """Cancel the delivery; return whether it had not ended yet.

        What has not begun never does. A coroutine that runs is cancelled; a plain function that
        runs sees it in `ctx.cancelled()`, and if it ends all the same, it has ended.
        """
        engine = (await binding.reach()).engine
        (outcome,) = await engine.cancel([self.id])
        return outcome != "unknown"

    def cancel_sync(self) -> bool:
        """Do what `cancel` does, from a thread."""
        return binding.wait_for(self.cancel())


def _value(delivery: str, result: Result | None) -> Any:
    if result is None:
        raise EngineError(
            f"How the delivery {delivery} ended is not known here: its task keeps no result "
            "(keep_result), or keeps it no longer."
        )
    if result.ending == "done":
        return json.loads(result.body or b"null")
    if result.ending == "cancelled":
        raise TaskCancelled(f"The delivery {delivery} was cancelled.")
    raise TaskFailed(f"The delivery {delivery} has failed: {result.error}")
