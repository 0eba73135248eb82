"""PollEntry ids: what the server told us about each namespace, and what of it we acted on.

Pure. An id says "something after N changed" and never what. So it is advanced only when a pull has
shown the change, or has shown several times that there is none for us; until then the server
repeats itself at every poll, and nothing is lost to a node that lags behind or to a failing pull.
"""

import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from skep.config.apollo.answers import PollEntry
from skep.config.snapshots.snapshot import canonical

# The id of a namespace of which nothing was ever seen: the server answers at once.
UNSEEN = -1
# A 304 after a notification is what a lagging node answers, and also what a gray release for
# others, or a republished one, looks like. So often it is asked again before it is believed.
_DOUBTS = 3


class Notifications:
    """The notification ids of one client's namespaces."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        self._ids = dict.fromkeys(namespaces, UNSEEN)
        self._spelling = {name.casefold(): name for name in self._ids}
        self._doubts = dict.fromkeys(self._ids, 0)
        # Namespaces whose new release a pull has shown and no notification accounted for yet.
        self._unaccounted: set[str] = set()
        self._messages: dict[str, dict[str, int]] = {}
        # What was told and is not confirmed yet.
        self._told: dict[str, int] = {}

    @property
    def ids(self) -> dict[str, int]:
        """The id to send for each namespace."""
        return dict(self._ids)

    @property
    def unaccounted(self) -> bool:
        """Whether a pull has shown a new release of which no notification told."""
        return bool(self._unaccounted)

    @property
    def doubtful(self) -> bool:
        """Whether something was told that pulls have not shown so far."""
        return any(self._doubts.values())

    def messages(self, namespace: str) -> str:
        """Return the parameter `messages` of a pull, "" if nothing was ever told: with it, a node
        that keeps releases in memory knows that it must look again."""
        details = self._messages.get(namespace)
        return json.dumps({"details": details}, separators=(",", ":")) if details else ""

    def news(self, told: Iterable[PollEntry]) -> dict[str, int]:
        """Return what of the server's answer is news, by our own names of the namespaces.

        The server may spell a name otherwise, repeat it, or name what we did not ask for. An id
        lower than ours is news too: its database was restored, or it is another server. So is an
        id equal to ours, which may count something else: a server that knows of nothing new holds
        the poll or answers 304.
        """
        found: dict[str, int] = {}
        for one in told:
            ours = self._spelling.get(canonical(one.namespace).casefold())
            if ours is not None:
                found[ours] = max(one.number, found.get(ours, one.number))
                self._keep(ours, one.messages)
        self._told.update(found)
        return found

    def _keep(self, namespace: str, messages: Mapping[str, int]) -> None:
        known = self._messages.setdefault(namespace, {})
        known.update({k: max(v, known.get(k, v)) for k, v in messages.items()})

    def pulled(self, changed: Iterable[str]) -> None:
        """Take note that a pull has shown new releases of these namespaces."""
        self._unaccounted.update(changed)

    def confirm(self, news: Mapping[str, int]) -> bool:
        """After a pull, settle what the server had told; say whether it told of a new release.

        What was told before `forget` is of a server, or of a life of it, that may be no more: its
        ids are not adopted.
        """
        fruitful = False
        for name, number in news.items():
            if self._told.pop(name, None) != number:
                continue
            seen = name in self._unaccounted
            # An id that we have already leaves nothing to doubt: one pull has looked again.
            self._doubts[name] += number != self._ids[name]
            if seen or self._ids[name] == UNSEEN or self._doubts[name] >= _DOUBTS:
                self._ids[name] = number
                self._doubts[name] = 0
            self._unaccounted.discard(name)
            fruitful = fruitful or seen
        return fruitful

    def forget(self) -> None:
        """Trust no id any more: the next poll asks as if for the first time."""
        for name in self._ids:
            self._ids[name] = UNSEEN
            self._doubts[name] = 0
        self._unaccounted.clear()
        self._told.clear()
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
