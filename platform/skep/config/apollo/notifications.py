"""Notification ids: what the server announced for each namespace, and what a pull confirmed.

Pure. An id says "something after N changed" and never what. It advances only when a pull has shown
the change, or has shown several times that there is none; until then the server repeats it at every
poll, so that neither a lagging node nor a failing pull loses a change.
"""

import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from skep.config.apollo.answers import PollEntry
from skep.config.snapshots.snapshot import canonical

# The id before the first notification: the server answers at once.
UNSEEN = -1
# A 304 after a notification comes from a lagging node, but also after a gray release for others or
# a republished one. Ask this many times before believing it.
_DOUBTS = 3


class Notifications:
    """The notification ids of one client's namespaces.

    `ids` are those to send. `unaccounted` are the namespaces whose new release a pull has shown and
    no notification announced yet.
    """

    def __init__(self, namespaces: Iterable[str]) -> None:
        self.ids = dict.fromkeys(namespaces, UNSEEN)
        self._spelling = {name.casefold(): name for name in self.ids}
        self._doubts = dict.fromkeys(self.ids, 0)
        self.unaccounted: set[str] = set()
        self._messages: dict[str, dict[str, int]] = {}
        self._announced: dict[str, int] = {}

    @property
    def doubtful(self) -> bool:
        """Whether something was announced that pulls have not shown so far."""
        return any(self._doubts.values())

    def messages(self, namespace: str) -> str:
        """Return the parameter `messages` of a pull, "" for none: it makes a node that caches
        releases look again."""
        details = self._messages.get(namespace)
        return json.dumps({"details": details}, separators=(",", ":")) if details else ""

    def news(self, entries: Iterable[PollEntry]) -> dict[str, int]:
        """Return the ids in the server's answer, by our own names of the namespaces.

        The server may spell a name differently, repeat it, or name one we did not ask for. An id
        lower than ours counts too: the database was restored, or it is another server. So does an
        equal id: a server without news holds the poll or answers 304.
        """
        found: dict[str, int] = {}
        for one in entries:
            ours = self._spelling.get(canonical(one.namespace).casefold())
            if ours is not None:
                found[ours] = max(one.number, found.get(ours, one.number))
                known = self._messages.setdefault(ours, {})
                known.update({k: max(v, known.get(k, v)) for k, v in one.messages.items()})
        self._announced.update(found)
        return found

    def pulled(self, changed: Iterable[str]) -> None:
        """Note that a pull has shown new releases of these namespaces."""
        self.unaccounted.update(changed)

    def confirm(self, news: Mapping[str, int]) -> bool:
        """After a pull, settle what the server announced; return whether it was a new release.

        What was announced before `forget` may come from another server: its ids are not adopted.
        """
        fruitful = False
        for name, number in news.items():
            if self._announced.pop(name, None) != number:
                continue
            seen = name in self.unaccounted
            # An id that we have already leaves nothing to doubt: one pull has looked again.
            self._doubts[name] += number != self.ids[name]
            if seen or self.ids[name] == UNSEEN or self._doubts[name] >= _DOUBTS:
                self.ids[name] = number
                self._doubts[name] = 0
            self.unaccounted.discard(name)
            fruitful = fruitful or seen
        return fruitful

    def forget(self) -> None:
        """Forget every id: the next poll asks as if for the first time."""
        for name in self.ids:
            self.ids[name] = UNSEEN
            self._doubts[name] = 0
        self.unaccounted.clear()
        self._announced.clear()
        self._messages.clear()


def query(ids: Mapping[str, int]) -> str:
    """Return the ids as the parameter `notifications` of a poll."""
    entries = [{"namespaceName": name, "notificationId": ids[name]} for name in ids]
    return json.dumps(entries, separators=(",", ":"))


def shards(ids: Mapping[str, int], longest: int) -> list[dict[str, int]]:
    """Split the ids so that each part's query is no longer than `longest` bytes in a URL.

    A single namespace is never split, however long its name.
    """
    parts: list[dict[str, int]] = []
    for name, number in ids.items():
        if parts and len(quote(query({**parts[-1], name: number}))) <= longest:
            parts[-1][name] = number
        else:
            parts.append({name: number})
    return parts
