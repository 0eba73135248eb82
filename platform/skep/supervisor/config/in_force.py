"""Which release of each namespace is applied, since when, and why it is not the newest."""

from collections.abc import Mapping
from typing import Any

# A platform that serves is not degraded by what passes by itself.
_PASSING = frozenset({"connect", "timeout", "http_5xx"})


def releases_in_force(
    in_force: Mapping[str, str],
    since: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
    unapplied: str,
) -> list[dict[str, Any]]:
    """Return one row for each namespace.

    `in_force` are the release keys of the generation in service, `since` when each of them was
    applied (see `skep.config.snapshots.history.State`), `config` is what the agent has reported.
    `unapplied` says why what it has offered is not in force.
    """
    followed = {one["namespace"]: one for one in config.get("following", ())}
    offered = config.get("release_keys") or {}
    # Polls that fail may hide something newer.
    unheard = "" if config.get("connected") else config.get("last_error", "")
    rows = []
    for namespace, key in in_force.items():
        known = since.get(namespace, {})
        one = followed.get(namespace, {})
        late = unapplied if offered.get(namespace, key) != key else ""
        rows.append(
            {
                "namespace": namespace,
                "release_key": key,
                "since": known.get("since", 0.0) if known.get("release") == key else 0.0,
                "not_newer": one.get("trouble") or late or unheard,
                "reason": one.get("reason", ""),
                "refused": one.get("refused", ""),
            }
        )
    return rows


def not_followed(config: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each namespace that the service does not give, not even later."""
    return [
        f"namespace {one['namespace']} is not followed: {one['trouble']}"
        for one in config.get("following", ())
        if one["trouble"] and not one["refused"] and one["reason"] not in _PASSING
    ]
