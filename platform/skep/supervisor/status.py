"""What `platform status` shows: the platform as one JSON document."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from skep.supervisor.config.history import Chronicle
from skep.supervisor.config.in_force import releases_in_force
from skep.supervisor.outcomes import Outcomes
from skep.supervisor.processes.crew import Crew
from skep.supervisor.rollout.rollouts import Succession


def document(
    *,
    state: str,
    reasons: list[str],
    pid: int,
    run_id: str,
    started: float,
    urls: dict[str, str],
    platform: Crew,
    succession: Succession,
    config: dict[str, Any],
    outcomes: Outcomes,
    chronicle: Chronicle,
    env_file: Path,
) -> dict[str, Any]:
    """Return the document; `started` is in seconds since the epoch. `reasons` say why the state is
    not a better one."""
    current = succession.current
    return {
        "state": state,
        "reasons": reasons,
        "version": version("skep"),
        "pid": pid,
        "run_id": run_id,
        "started": started,
        "uptime": round(time.time() - started, 1),
        "generation": current.number if current else 0,
        "on_probation": succession.on_probation,
        "left_out": list(current.left_out) if current else [],
        "coming": succession.coming.rollout.phase.value if succession.coming else None,
        "listeners": urls,
        "plugins": list(current.plan.plugins) if current and current.plan else [],
        "slots": [
            *_slots(platform),
            *(s for g in succession.generations.all for s in _slots(g.crew)),
        ],
        "config": {
            **_config(succession, config, outcomes, chronicle),
            "env_file": str(env_file.absolute()),
        },
        "last_rollout": outcomes.last.to_json() if outcomes.last else None,
        "refused": outcomes.refused.to_json() if outcomes.refused else None,
        "restart_required": outcomes.restart_required,
    }


def _config(
    succession: Succession, config: dict[str, Any], outcomes: Outcomes, chronicle: Chronicle
) -> dict[str, Any]:
    current, state = succession.current, chronicle.state
    in_force = current.configuration.release_keys if current else {}
    unapplied = _unapplied(succession, outcomes, chronicle)
    return {
        **{key: value for key, value in config.items() if key != "following"},
        "release_keys": in_force,
        "releases": releases_in_force(in_force, state.releases, config, unapplied),
        "keys": dict(current.configuration.keys_by_layer) if current else {},
        "snapshot": state.applied,
        "good": state.good,
        "pinned": state.pinned,
        "withheld": bool(chronicle.withheld),
    }


def _unapplied(succession: Succession, outcomes: Outcomes, chronicle: Chronicle) -> str:
    """Say why what was pulled is not in force."""
    if pinned := chronicle.state.pinned:
        return f"Snapshot {pinned} is pinned; see `platform config unpin`."
    if succession.coming is not None:
        return f"Generation {succession.coming.generation.number} is on its way."
    if outcomes.refused is not None and outcomes.refused.problems:
        return str(outcomes.refused.problems[0])
    return "It is about to be applied."


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
