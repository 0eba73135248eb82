"""The config servers of one app: which one to ask, and which next when that one fails.

They are given in order of preference, or a meta server names them. The server that answered last is
asked next; one that failed comes last for a while. When a meta server gives no useful answer, the
servers it named before are asked, then the meta server itself: in Apollo each is a config server.
"""

import asyncio
import json
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from skep.base.backoff import Backoff
from skep.base.errors import UsageError
from skep.config.apollo.server import ApolloServer, ServerAccess, ServerAnswer, Timeouts
from skep.config.errors import ApolloError, Broken, NotApollo, TooSlow, Unreachable

T = TypeVar("T")
Read = Callable[[ApolloServer, ServerAnswer], T]

_META_PATH = "/services/config"
# Errors that another server may not have.
_FAILED = (Unreachable, TooSlow, Broken, NotApollo)
_COOLDOWN = Backoff(first=2.0, cap=30.0, jitter=0.2)
# Seconds; an upper bound for the pause that a server asks for.
_LONGEST_PAUSE = 300.0
# Between two questions to a meta server: when it has answered, and from when it has not.
_REFRESH, _RETRY = 300.0, Backoff(first=2.0, cap=60.0, jitter=0.2)
_ACCESS = ServerAccess()

log = logging.getLogger(__name__)


@dataclass
class _Health:
    """How often a server has failed in a row, and until when it is asked last."""

    failures: int = 0
    until: float = 0.0


class Failover:
    """Several servers that are asked as one; `metas` name them if `urls` is empty.

    Raises UsageError for an invalid address, or if there is none.
    """

    def __init__(
        self,
        urls: Sequence[str],
        metas: Sequence[str] = (),
        *,
        access: ServerAccess = _ACCESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not urls and not metas:
            raise UsageError("There is no config server to ask: see --config-server.")
        self._metas = [] if urls else [ApolloServer(url, access) for url in metas]
        self._servers = [ApolloServer(url, access) for url in urls] or list(self._metas)
        self._access = access
        self._clock = clock
        self._health = defaultdict[str, _Health](_Health)
        self._locating = asyncio.Lock()
        self._locate_at, self._failed_lookups = 0.0, 0

    @property
    def timeouts(self) -> Timeouts:
        """How long to wait for a server."""
        return self._access.timeouts

    @property
    def url(self) -> str:
        """The address of the server that is asked next."""
        return self._order()[0].url

    async def ask(self, path: str, params: Mapping[str, str], read: Read[T]) -> T:
        """Ask the servers in turn until `read` accepts an answer.

        Raises the ApolloError of the first that refuses, or one for all if all have failed.
        """
        await self._locate()
        errors: list[ApolloError] = []
        for server in self._order():
            try:
                got = await server.get(path, params, self.timeouts.answer)
                result = read(server, got)
            except _FAILED as error:
                self._fail(server, error)
                errors.append(error)
            else:
                self._prefer(server)
                return result
        raise _together(errors)

    async def poll(self, path: str, params: Mapping[str, str], read: Read[T]) -> T:
        """Ask one server, which may hold the request; if it fails, another one the next time.

        A lost poll is not repeated: the server that received it may not know our ids. Raises
        ApolloError.
        """
        await self._locate()
        server = self._order()[0]
        try:
            got = await server.get(path, params, self.timeouts.hold, again=False)
            result = read(server, got)
        except _FAILED as error:
            self._fail(server, error)
            raise
        self._prefer(server)
        return result

    def turn(self) -> None:
        """Ask another server next: this one seems to lag behind."""
        first = self._order()[0]
        self._servers.sort(key=lambda server: server is first)

    async def close(self) -> None:
        """Close every connection."""
        for server in {*self._servers, *self._metas}:
            await server.close()

    def _order(self) -> list[ApolloServer]:
        """Return all servers: the healthy by preference, then the others by their pause."""
        now = self._clock()
        ends = {server: self._health[server.url].until for server in self._servers}
        return sorted(self._servers, key=lambda server: max(0.0, ends[server] - now))

    def _prefer(self, server: ApolloServer) -> None:
        self._health.pop(server.url, None)
        if server not in self._metas:
            self._servers.sort(key=lambda other: other is not server)

    def _fail(self, server: ApolloServer, error: ApolloError) -> None:
        health = self._health[server.url]
        health.failures += 1
        pause = min(error.pause, _LONGEST_PAUSE)
        health.until = self._clock() + max(pause, _COOLDOWN.delay(health.failures))
        if all(self._health[other.url].until > self._clock() for other in self._servers):
            # All servers fail: the meta server may know others by now.
            self._locate_at = min(self._locate_at, self._clock() + _RETRY.first)

    async def _locate(self) -> None:
        async with self._locating:
            if not self._metas or self._clock() < self._locate_at:
                return
            for meta in random.sample(self._metas, len(self._metas)):
                if urls := await self._named_by(meta):
                    pause = _REFRESH * random.uniform(0.9, 1.1)
                    self._failed_lookups, self._locate_at = 0, self._clock() + pause
                    return await self._adopt(urls)
            self._failed_lookups += 1
            self._locate_at = self._clock() + _RETRY.delay(self._failed_lookups)

    async def _named_by(self, meta: ApolloServer) -> list[str]:
        try:
            params = {"appId": self._access.key.app_id} if self._access.key else {}
            got = await meta.get(_META_PATH, params, self.timeouts.answer)
        except ApolloError as error:
            reason = str(error)
        else:
            encrypted = meta.url.startswith("https:")
            urls = _addresses(got.body, encrypted) if got.status == 200 else []
            if urls:
                return urls
            reason = f"The meta server {meta.url} names no config server (HTTP {got.status})."
        if not self._failed_lookups:
            log.warning("%s The servers it named last are asked, then it itself.", reason)
        return []

    async def _adopt(self, urls: Iterable[str]) -> None:
        """Make these the servers, in random order, so that not all clients ask the same one."""
        known = {server.url: server for server in self._servers}
        found = [o for url in urls if (o := known.get(url) or _usable(url, self._access))]
        random.shuffle(found)
        before, self._servers = self._servers, found
        # Keep asking the server that was asked last: it may hold our polls.
        self._servers.sort(key=lambda server: server is not before[0])
        self._servers += [meta for meta in self._metas if meta not in found]
        for server in set(before) - set(self._servers):
            await server.retire()


def _addresses(body: bytes, encrypted: bool) -> list[str]:
    """Return the config servers that the answer of a meta server names; none if it is unreadable.

    A meta server that is asked over TLS (`encrypted`) cannot name a config server without TLS.
    """
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        return []
    found = [_address(entry) for entry in entries] if isinstance(entries, list) else []
    schemes = ("https://",) if encrypted else ("https://", "http://")
    return list(dict.fromkeys(url for url in found if url.lower().startswith(schemes)))


def _address(entry: Any) -> str:
    match entry:
        case {"homepageUrl": str(url)}:
            return url.strip().rstrip("/")
    return ""


def _usable(url: str, access: ServerAccess) -> ApolloServer | None:
    try:
        return ApolloServer(url, access)
    except UsageError:
        log.warning("The meta server names a config server with an invalid address.")
        return None


def _together(errors: Sequence[ApolloError]) -> ApolloError:
    first = errors[0]
    texts = dict.fromkeys(map(str, errors))
    pause = min(error.pause for error in errors)
    return type(first)(" ".join(texts), first.status, pause)
