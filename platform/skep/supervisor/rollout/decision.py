"""How a request is answered, and what each change of a key takes. A pure decision.

live      the workers take the new value, none is replaced
unused    no Settings class reads the key: the same, if no plugin has read it otherwise
rollout   a new generation
restart   nothing until the platform is restarted
"""

from collections.abc import Mapping, Set
from enum import Enum

from skep.base.errors import PlatformError, UsageError
from skep.config.errors import Unusable
from skep.config.options.table import rows
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.generation import Generation
from skep.supervisor.request import Action, KeyChange, RolloutRequest
from skep.wire.plan import Plan, Problem

Fingerprint = tuple[str, str]
_OWN = {row.key: row.change for row in rows()}


class Decision(Enum):
    """How a request is answered."""

    NOTHING = "it was refused before, and nothing about it is new"
    UNCHANGED = "the generation in service is already what is wanted"
    REFUSED = "its problems are known"
    LIVE = "the workers may be able to take it as they are"
    ROLLOUT = "it takes a new generation"


def fingerprint(request: RolloutRequest, configuration: Configuration) -> Fingerprint:
    """Return what names the combination that a request wants: configuration and code."""
    return configuration.digest, request.code


def choose(
    request: RolloutRequest,
    configuration: Configuration,
    current: Generation | None,
    refused: Set[Fingerprint],
) -> Decision:
    """Return how a request is answered; `refused` are the combinations that failed before."""
    if request.problems and request.cause != "rollback":
        return Decision.REFUSED
    if request.forced or current is None:
        return Decision.ROLLOUT
    if _same_code(request, current) and configuration.digest == current.configuration.digest:
        return Decision.UNCHANGED
    if can_be_live(current, configuration, request):
        return Decision.LIVE
    return Decision.NOTHING if fingerprint(request, configuration) in refused else Decision.ROLLOUT


def changes_on(generation: Generation, configuration: Configuration) -> list[KeyChange]:
    """Return what a configuration changes in a generation."""
    old = generation.configuration.environment
    plan = generation.plan or Plan()
    return changes_between(old, configuration.environment, configuration.layer_of, plan)


def changes_between(
    old: Mapping[str, str], new: Mapping[str, str], layers: Mapping[str, str], plan: Plan
) -> list[KeyChange]:
    """Return a change for each key whose effective value differs, in order of the keys.

    `layers` says for keys of the new environment which layer sets them.
    """
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [
        KeyChange(key, old.get(key), new.get(key), layers.get(key, ""), action(key, plan))
        for key in differing
    ]


def action(key: str, plan: Plan) -> Action:
    """Return what a change of this key takes in a generation with this plan."""
    name = key.upper()
    if name in _OWN:
        return _OWN[name]
    if name in plan.fixed:
        return "rollout"
    return "live" if name in plan.live else "unused"


def without_rollout(found: list[KeyChange]) -> bool:
    """Whether the workers can take all of it as they are, unless one objects."""
    return all(change.action != "rollout" for change in found)


def can_be_live(
    generation: Generation, configuration: Configuration, request: RolloutRequest
) -> bool:
    """Whether the workers of a generation may be able to take a configuration as they are."""
    if request.forced or generation.plan is None or not _same_code(request, generation):
        return False
    return without_rollout(changes_on(generation, configuration))


def _same_code(request: RolloutRequest, generation: Generation) -> bool:
    return generation.plan is not None and request.code in ("", generation.plan.code)


def unusable(error: PlatformError) -> Problem:
    """Return the problem that a configuration is, before anything has been tried with it."""
    rule = error.reason if isinstance(error, Unusable) else ""
    # An option of the platform is a setting like those of plugins.
    return Problem("config", str(error), rule="schema" if isinstance(error, UsageError) else rule)
