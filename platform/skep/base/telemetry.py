"""Named facts about what the code does; logs and metrics subscribe to them.

Working code reports once what happened (`telemetry.point("task.settled", task=…, outcome=…)`) and
does not know who counts it. The names are the dotted ones of `skep.metrics.subscriber`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Subscriber = Callable[[dict[str, Any]], None]


class Telemetry:
    """The points of one process and who listens to them."""

    def __init__(self) -> None:
        self._subscribers: dict[str, list[Subscriber]] = {}

    def subscribe(self, name: str, subscriber: Subscriber) -> None:
        """Call `subscriber(fields)` at every point called `name`, in order of subscription."""
        self._subscribers.setdefault(name, []).append(subscriber)

    def point(self, name: str, **fields: Any) -> None:
        """Call the subscribers of `name`. An exception of a subscriber propagates."""
        for subscriber in self._subscribers.get(name, ()):
            subscriber(fields)

    @contextmanager
    def span(self, name: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Publish `name` at the end of the block, with its `seconds`; the block may add fields."""
        start = time.perf_counter()
        try:
            yield fields
        finally:
            self.point(name, seconds=time.perf_counter() - start, **fields)
