"""What an Apollo server's answers mean. Pure: bytes in, releases and notifications out.

An answer is taken whole or not at all; nothing in it is guessed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skep.config.snapshots.snapshot import Release


class Malformed(Exception):
    """The answer breaks the protocol; the text says how."""


class NoConfigurations(Malformed):
    """The answer carries no configuration, and does not say that it is incremental."""


class NeedsFull(Malformed):
    """The answer is a change that cannot be applied; request the whole configuration."""


def release(body: bytes, like: Release | None) -> tuple[str, dict[str, str]]:
    """Read the answer to a pull of one namespace; return the release key and all configurations.

    `like` is the release whose key was sent with the request. Raises Malformed.
    """
    answer = _json(body)
    if not isinstance(answer, dict):
        raise Malformed("it is not a JSON object")
    match answer.get("configSyncType"):
        case None | "FullSync":
            configurations = _configurations(answer)
        case "IncrementalSync":
            configurations = _changed(answer, like)
        case other:
            raise NeedsFull(f"its configSyncType {other!r:.40} is unknown")
    match answer.get("releaseKey"):
        case str(key) if key and key.isprintable():
            return key, configurations
    raise Malformed("it has no releaseKey")


@dataclass(frozen=True)
class PollEntry:
    """What a poll reports of one namespace, in the server's spelling.

    `messages` are ids by the server's own names of what changed; the next pull returns them.
    """

    namespace: str
    number: int
    messages: Mapping[str, int] = field(default_factory=dict)


def notifications(body: bytes) -> list[PollEntry]:
    """Read the answer to a poll. Raises Malformed."""
    answer = _json(body)
    if not isinstance(answer, list):
        raise Malformed("it is not a JSON array")
    return [_notification(entry) for entry in answer]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("it is not JSON, or is cut off") from None


def _notification(entry: object) -> PollEntry:
    match entry:
        case {"namespaceName": str(name), "notificationId": int(number), **more}:
            return PollEntry(name, number, _messages(more.get("messages")))
    raise Malformed("a notification in it lacks its name or its number")


def _messages(messages: object) -> dict[str, int]:
    """Read what is only sent back, leaving out what is invalid."""
    match messages:
        case {"details": dict(details)}:
            return {k: v for k, v in details.items() if type(v) is int}
    return {}


def _configurations(answer: Mapping[str, Any]) -> dict[str, str]:
    if "configurations" not in answer:
        raise NoConfigurations("it has no configurations")
    configurations = answer["configurations"]
    if not isinstance(configurations, dict):
        raise Malformed("its configurations are not a JSON object")
    # A null is how some servers write an absent key.
    found = {key: value for key, value in configurations.items() if value is not None}
    for key, value in found.items():
        if not isinstance(value, str):
            # Is 1.0 "1" or "1.0", true "true" or "True"? Apollo itself sends texts only.
            raise Malformed(f"the value of {key!r:.100} is not a text")
    return found


def _changed(answer: Mapping[str, Any], like: Release | None) -> dict[str, str]:
    changes = answer.get("configurationChanges")
    if like is None or not isinstance(changes, list):
        raise NeedsFull("it is incremental and cannot be applied")
    values = dict(like.configurations)
    for change in changes:
        match change:
            case {
                "key": str(key),
                "newValue": str(value),
                "configurationChangeType": "ADDED" | "MODIFIED",
            }:
                values[key] = value
            case {"key": str(key), "configurationChangeType": "DELETED"}:
                values.pop(key, None)
            case _:
                raise NeedsFull("it is incremental with a change of an unknown type")
    return values
