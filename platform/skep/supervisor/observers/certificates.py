"""Rolls out a new generation when a certificate is renewed on the disk.

The files of the generation in service are compared by content every few seconds, so that a symlink
may be swapped and a file be written again unchanged. The same files are requested again only after
an hour: a certificate that is refused is refused rarely while the old one serves, but one that came
with a plugin that was broken for a while must not expire.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from skep.base.files import fingerprint
from skep.supervisor.generation import Generation
from skep.supervisor.processes.events import Events, PlatformServing
from skep.supervisor.request import RolloutRequest

AGAIN = 3600.0
_LOOK = 2.0
Files = Mapping[str, str]


@dataclass(frozen=True)
class Renewal:
    """What was seen at the last look, if it is not what is served, and what was asked for last, and
    when; files and their digests."""

    seen: Files = field(default_factory=dict)
    asked: Files = field(default_factory=dict)
    asked_at: float = 0.0


def look(renewal: Renewal, served: Files, found: Files, now: float) -> tuple[Renewal, str]:
    """Return what is known after a look at `now`, and why a rollout is wanted, if it is.

    What is found has to be there at two looks: a certificate and its key are two files, and rarely
    change in one moment.
    """
    if found == served:
        return replace(renewal, seen={}), ""
    was_asked = found == renewal.asked and now < renewal.asked_at + AGAIN
    if found != renewal.seen or was_asked:
        return replace(renewal, seen=found), ""
    changed = [Path(file).name for file in served if found.get(file) != served[file]]
    return Renewal(found, found, now), f"{' and '.join(changed)} changed"


class Certificates:
    """Looks after the certificates of the `current` generation; `ask` takes requests."""

    def __init__(
        self,
        events: Events,
        current: Callable[[], Generation | None],
        ask: Callable[[RolloutRequest], None],
    ) -> None:
        self._current = current
        self._ask = ask
        self._renewal = Renewal()
        events.subscribe(PlatformServing, self._begin)

    def _begin(self, _: PlatformServing) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            served = self._served()
            if served:
                # In a thread: a disk may be far away, and slow.
                found = await asyncio.to_thread(fingerprint.contents, served)
                self._renewal, why = look(self._renewal, self._served(), found, time.monotonic())
                if why:
                    self._ask(RolloutRequest("certificate", why, forced=True))

    def _served(self) -> Files:
        generation = self._current()
        plan = generation.plan if generation else None
        return plan.certificates if plan else {}
