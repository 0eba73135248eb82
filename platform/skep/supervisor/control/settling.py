"""Waits until it is known what becomes of a release that has just been published.

`platform config publish` asks for it. The agent pulls the release by itself; here each outcome is
only compared with what is waited for.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skep.supervisor.control.server import CommandRefused


@dataclass(frozen=True)
class Facts:
    """What is known of the releases now; all of it by namespace.

    `in_force`, `offered` (by the agent, last) and `withheld` (because of `pinned`) are release
    keys, `refused` the key and the reason. `generation` is the one in service.
    """

    in_force: Mapping[str, str] = field(default_factory=dict)
    offered: Mapping[str, str] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    generation: int = 0
    pinned: int = 0
    drained: bool = False


@dataclass(frozen=True)
class Settled:
    """What became of a release; `outcome` is a word for scripts."""

    outcome: str
    sentence: str


def settled(namespace: str, key: str, before: str, facts: Facts) -> Settled | None:
    """Return what has become of a release, None while that is not known.

    `before` is what the agent had offered of the namespace when the waiting began.
    """
    refused_key, reason = facts.refused.get(namespace, ("", ""))
    if facts.in_force.get(namespace) == key:
        return Settled("applied", f"Generation {facts.generation} has it.")
    if refused_key == key:
        return Settled("refused", reason)
    if facts.pinned and facts.withheld.get(namespace) == key:
        text = f"It is withheld: snapshot {facts.pinned} is pinned; see `platform config unpin`."
        return Settled("withheld", text)
    if facts.drained:
        return Settled("waiting", "The platform is drained; `platform undrain` applies it.")
    if facts.offered.get(namespace, before) not in (before, key):
        return Settled("overtaken", "A newer release came before this one was applied.")
    return None


class ReleaseSettling:
    """The command `config.settled`; `facts` returns what is known now."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts
        self._changed = asyncio.Event()
        self._stopping = False

    def look(self, *, stopping: bool = False) -> None:
        """Let the waiting commands look again, because something has changed."""
        self._stopping = stopping
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Wait until it is known what becomes of a release.

        Raises CommandRefused when it is refused, and when the platform stops.
        """
        namespace, key = str(arguments["namespace"]), str(arguments["release_key"])
        before = self._facts().offered.get(namespace, "")
        while (found := settled(namespace, key, before, self._facts())) is None:
            await self._changed.wait()
            if self._stopping:
                raise CommandRefused("The platform is stopping.", "stopping")
        if found.outcome == "refused":
            raise CommandRefused(f"The release was refused: {found.sentence}")
        return {"outcome": found.outcome, "sentence": found.sentence}
