"""The releases that the agent has refused: what is in them must not be applied.

Each is reported once, as a candidate is that the supervisor itself refuses. As long as the release
is the newest of its namespace, its problem stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skep.supervisor.request import RolloutRequest
from skep.wire.plan import Problem


@dataclass(frozen=True)
class RefusedRelease:
    """One refused release, and by which rule."""

    namespace: str
    release_key: str
    message: str
    rule: str

    @property
    def problem(self) -> Problem:
        """What is wrong with it."""
        return Problem("config", self.message, rule=self.rule)

    @property
    def request(self) -> RolloutRequest:
        """What it was meant to become."""
        reason = f"release {self.namespace} {self.release_key}"
        return RolloutRequest("config", reason, problems=(self.problem,))


class RefusedReleases:
    """The refused releases by namespace; `follow` learns of them, `take` returns the new ones."""

    def __init__(self) -> None:
        self._standing: dict[str, RefusedRelease] = {}
        self._unreported: list[RefusedRelease] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the releases that are refused now."""
        return tuple(refusal.problem for refusal in self._standing.values())

    @property
    def by_namespace(self) -> dict[str, tuple[str, str]]:
        """The key of each release that is refused now, and why."""
        return {name: (one.release_key, one.message) for name, one in self._standing.items()}

    def follow(self, config: Mapping[str, Any]) -> None:
        """Take what the agent has reported."""
        found = {
            one["namespace"]: RefusedRelease(
                one["namespace"], one["refused"], one["trouble"], one["reason"]
            )
            for one in config.get("following", ())
            if one["refused"]
        }
        new = [one for name, one in found.items() if self._standing.get(name) != one]
        self._unreported += new
        self._standing = found

    def take(self) -> list[RefusedRelease]:
        """Return what has to be reported, the oldest first; it counts as reported."""
        due, self._unreported = self._unreported, []
        return due
