"""Gray releases: a branch of a namespace, and the rules that choose its clients."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skep.configserver.model.names import Address, fold

ANY = "*"


@dataclass(frozen=True, slots=True)
class GrayRule:
    """Clients of one app, by their addresses or their labels; `*` in a list stands for all."""

    app_id: str
    ips: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def matches(self, app_id: str, ip: str, label: str) -> bool:
        """Return whether the client gets the gray release. Addresses are compared as texts."""
        if fold(self.app_id) != fold(app_id):
            return False
        return ANY in self.ips or ip in self.ips or ANY in self.labels or label in self.labels


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the namespace `parent`; its items are those of the namespace `address`.

    `release_id` is None until the first gray release, and until then the rules have no effect.
    `overlay` is what that release has on top of the master's: a value, or None for a key that is
    taken away.
    """

    id: int
    namespace_id: int
    parent_id: int
    address: Address
    parent: Address
    rules: tuple[GrayRule, ...]
    release_id: int | None
    overlay: dict[str, str | None]

    def reaches(self, app_id: str, ip: str, label: str) -> bool:
        """Return whether a rule of the branch matches the client."""
        return any(rule.matches(app_id, ip, label) for rule in self.rules)


def overlaid(master: Mapping[str, str], overlay: Mapping[str, str | None]) -> dict[str, str]:
    """Return the master's configuration with the overlay of a branch on top."""
    merged = {**master, **overlay}
    return {key: value for key, value in merged.items() if value is not None}


def rules_to_json(rules: Iterable[GrayRule]) -> str:
    """Return the rules as Apollo keeps them."""
    return json.dumps(
        [
            {
                "clientAppId": rule.app_id,
                "clientIpList": list(rule.ips),
                "clientLabelList": list(rule.labels),
            }
            for rule in rules
        ]
    )


def rules_from_json(text: str) -> tuple[GrayRule, ...]:
    """Return the rules of a text that `rules_to_json` made."""
    return tuple(
        GrayRule(rule["clientAppId"], tuple(rule["clientIpList"]), tuple(rule["clientLabelList"]))
        for rule in json.loads(text)
    )
