"""Releases, their history, and what changed between two of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from skep.configserver.model.names import Address


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """An immutable published release. `configurations` is a JSON object of texts, without blanks.

    The address of a gray release has the name of the branch as its cluster.
    """

    id: int
    release_key: str
    address: Address
    name: str
    comment: str
    configurations: str
    is_abandoned: bool
    released_by: str
    released_at: int

    def values(self) -> dict[str, str]:
        """Return the configurations in the order of the items they were made from."""
        return cast("dict[str, str]", json.loads(self.configurations))


@dataclass(frozen=True, slots=True)
class Notification:
    """The latest change of one address; ids rise over all addresses and never repeat."""

    id: int
    address: Address


class ReleaseOperation(IntEnum):
    """What made a release the one in force, by Apollo's numbers."""

    NORMAL = 0
    ROLLBACK = 1
    GRAY = 2
    RULES = 3
    MERGE_TO_MASTER = 4
    MASTER_TO_GRAY = 5
    ROLLBACK_TO_GRAY = 6
    ABANDON_GRAY = 7
    DELETE_AFTER_MERGE = 8


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One entry of a namespace's history of releases; an id is 0 where there is no release."""

    id: int
    address: Address
    branch: str
    release_id: int
    previous_release_id: int
    operation: ReleaseOperation
    context: dict[str, Any]
    operator: str
    at: int


def configuration_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what turns `old` into `new`, as Apollo's incremental answers write it."""
    changes = []
    for key, value in new.items():
        if key not in old:
            change = {"key": key, "newValue": value, "configurationChangeType": "ADDED"}
        elif old[key] != value:
            change = {"key": key, "newValue": value, "configurationChangeType": "MODIFIED"}
        else:
            continue
        changes.append(change)
    gone = (key for key in old if key not in new)
    return changes + [{"key": key, "configurationChangeType": "DELETED"} for key in gone]
