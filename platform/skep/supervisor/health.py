"""How the platform stands: its state in a word, what is wrong, and what became of the requests."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Literal

from skep.config.options.table import Options, changed
from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.config.in_force import not_followed, releases_in_force
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.request import Report, RolloutRequest
from skep.supervisor.rollout.rollouts import Rollouts
from skep.wire.plan import Problem

PlatformState = Literal["starting", "running", "degraded", "reloading", "drained", "stopping"]


class RefusedReleases:
    """The releases that the agent has refused: what is in them must not be applied.

    Each is reported once, as a candidate is that the supervisor itself refuses. As long as the
    release is the newest of its namespace, its problem stands.
    """

    def __init__(self) -> None:
        self._standing: dict[str, tuple[str, Problem]] = {}
        self._unreported: list[RolloutRequest] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the releases that are refused now."""
        return tuple(problem for _, problem in self._standing.values())

    @property
    def by_namespace(self) -> dict[str, tuple[str, str]]:
        """The key of each release that is refused now, and why."""
        return {name: (key, problem.message) for name, (key, problem) in self._standing.items()}

    def follow(self, config: Mapping[str, Any]) -> None:
        """Take what the agent has reported."""
        found = {
            one["namespace"]: (
                one["refused"],
                Problem("config", one["trouble"], rule=one["reason"]),
            )
            for one in config.get("following", ())
            if one["refused"]
        }
        for name, (key, problem) in found.items():
            if self._standing.get(name) != (key, problem):
                request = RolloutRequest("config", f"release {name} {key}", problems=(problem,))
                self._unreported.append(request)
        self._standing = found

    def take(self) -> list[RolloutRequest]:
        """Return the requests that have to be reported as refused, the oldest first."""
        due, self._unreported = self._unreported, []
        return due


class Outcomes:
    """The latest reports.

    `last` is the newest that changed something or was refused. `refusals` are the releases that the
    agent has refused. `restart_required` are the keys that require a restart to take effect.
    `first` are the options of the first generation in service, None before there is one.
    """

    def __init__(self) -> None:
        self.last: Report | None = None
        self.refusals = RefusedReleases()
        self._candidate: Report | None = None
        self._release: Report | None = None
        self.restart_required: list[str] = []
        self.first: Options | None = None

    @property
    def refused(self) -> Report | None:
        """Why the newest candidate, or the newest release of a namespace, is not what serves; None
        if it is."""
        releases = self.refusals.problems if self._release else ()
        report = self._candidate or self._release
        if report is None or not (self._candidate or releases):
            return None
        candidate = self._candidate.problems if self._candidate else ()
        return replace(report, problems=(*candidate, *releases))

    def refuse(self, report: Report) -> None:
        """Remember the report on a release that the agent has refused."""
        self.last = self._release = report

    def take(self, report: Report, fell_back: Report | None) -> None:
        """Remember a report; `fell_back` is why the start used an older snapshot."""
        self.last = report if report.outcome != "unchanged" else self.last or report
        self._candidate = report if report.outcome in ("refused", "rolled back") else None
        if report.cause == "start" and report.outcome == "committed":
            self._candidate = fell_back

    def compare(self, options: Options) -> None:
        """Compare the options in use with those of the start."""
        self.first = self.first or options
        taken = changed(self.first, options)
        self.restart_required = [key for key, takes in taken.items() if takes == "restart"]


class Health:
    """The state of the platform, as far as it shows in the slots and the reports.

    The supervisor sets `config` (the agent's latest report), `of_slots` (what is wrong with each
    platform slot that serves) and `schedule` (the state of its commands, if there is one).
    """

    def __init__(self, rollouts: Rollouts, platform: PlatformSlots, history: ConfigHistory) -> None:
        self.config: Mapping[str, Any] = {"source": "none"}
        self.of_slots: dict[str, Sequence[str]] = {}
        self.schedule: Mapping[str, Any] | None = None
        self.outcomes = Outcomes()
        self._rollouts = rollouts
        self._platform = platform.crew
        self._children = platform.children
        self._history = history

    @property
    def state(self) -> PlatformState:
        """The state of the platform in a word."""
        if self._children.stopping:
            return "stopping"
        if self._rollouts.current is None:
            return "starting"
        if self._rollouts.scaler.drained:
            return "drained"
        if self._rollouts.coming is not None:
            return "reloading"
        return "degraded" if self.reasons() else "running"

    @property
    def crews(self) -> list[Crew]:
        """The crews that should have workers."""
        current = self._rollouts.current
        return [self._platform, *([current.crew] if current else [])]

    @property
    def applied_since(self) -> dict[str, float]:
        """Since when the release of each namespace is in force, in seconds since the epoch."""
        rows = self._config_document()["releases"]
        return {row["namespace"]: row["since"] for row in rows if row["since"]}

    def not_ready(self) -> list[str]:
        """Return the slots that should accept and do not."""
        if self._children.stopping:
            return ["the platform is stopping"]
        if self._rollouts.current is None:
            return ["no generation is in service yet"]
        if self._rollouts.scaler.drained:
            return ["the platform is drained"]
        return [slot for crew in self.crews for slot in crew.not_ready()]

    def reasons(self) -> list[str]:
        """Return what is wrong: slots that are not ready, workers that crash, the queue, the config
        service, and namespaces that it does not serve."""
        troubles = [trouble for crew in self.crews for trouble in crew.troubles()]
        of_config = [*_unheard(self.config), *not_followed(self.config)]
        of_slots = [trouble for slot in self.of_slots.values() for trouble in slot]
        return [*self.not_ready(), *troubles, *of_slots, *of_config]

    def document(
        self, run_id: str, started: float, urls: Mapping[str, str], env_file: str
    ) -> dict[str, Any]:
        """Return what `platform status` shows; `started` is in seconds since the epoch."""
        rollouts, outcomes = self._rollouts, self.outcomes
        current = rollouts.current
        crews = [self._platform, *(g.crew for g in rollouts.generations.all)]
        return {
            "state": self.state,
            "reasons": self.reasons(),
            "version": version("skep"),
            "pid": os.getpid(),
            "run_id": run_id,
            "started": started,
            "uptime": round(time.time() - started, 1),
            "generation": current.number if current else 0,
            "on_probation": rollouts.watch.on,
            "left_out": list(current.left_out) if current else [],
            "coming": rollouts.coming.rollout.phase.value if rollouts.coming else None,
            "listeners": dict(urls),
            "plugins": list(current.plan.plugins) if current and current.plan else [],
            "slots": [row for crew in crews for row in _slots(crew)],
            "config": {**self._config_document(), "env_file": env_file},
            "schedule": self.schedule,
            "last_rollout": outcomes.last.to_json() if outcomes.last else None,
            "refused": outcomes.refused.to_json() if outcomes.refused else None,
            "restart_required": outcomes.restart_required,
        }

    def _config_document(self) -> dict[str, Any]:
        current, state = self._rollouts.current, self._history.state
        applied = current.configuration.release_keys if current else {}
        return {
            **{key: value for key, value in self.config.items() if key != "following"},
            "release_keys": applied,
            "releases": releases_in_force(
                applied, state.releases, self.config, self._why_not_applied()
            ),
            "keys": dict(current.configuration.keys_by_layer) if current else {},
            "snapshot": state.applied,
            "good": state.good,
            "pinned": state.pinned,
            "withheld": bool(self._history.withheld),
        }

    def _why_not_applied(self) -> str:
        if pinned := self._history.state.pinned:
            return f"Snapshot {pinned} is pinned; see `platform config unpin`."
        if self._rollouts.coming is not None:
            return f"Generation {self._rollouts.coming.generation.number} is on its way."
        refused = self.outcomes.refused
        if refused is not None and refused.problems:
            return str(refused.problems[0])
        return "It is about to be applied."


def _unheard(config: Mapping[str, Any]) -> list[str]:
    source = config.get("source", "none")
    if not config.get("url") or config.get("last_pull_at") or source in ("none", "remote"):
        return []  # no service is configured, it has answered, or there is no configuration yet
    silent = "the config service has not answered since the start"
    return [f"{silent}; what is applied is from: {source}"]


def _slots(crew: Crew) -> list[dict[str, Any]]:
    rows = []
    for name, slot in crew.slots.items():
        child = crew.children.get(name)
        rows.append(
            {
                "slot": name,
                "generation": crew.number,
                "state": slot.state.value,
                "pid": child.pid if child else None,
                "crashes": slot.exits,
            }
        )
    return rows
