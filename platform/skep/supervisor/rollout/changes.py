"""What a new configuration changes, and what each change takes.

live      the workers take the new value, none is replaced
unused    no Settings class reads the key: the same, if no plugin has read it otherwise
rollout   a new generation
restart   nothing until the platform is restarted
"""

from collections.abc import Mapping

from skep.config.options.table import rows
from skep.supervisor.request import Action, KeyChange
from skep.wire.plan import Plan

_OWN = {row.key: row.change for row in rows()}


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
