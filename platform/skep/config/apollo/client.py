"""The client of an Apollo-compatible config server, for one app id and cluster.

It pulls releases and asks what changed; `skep.agent.config_sync` decides when. Every failure is an
ApolloError whose text names the server.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Self, TypeVar
from urllib.parse import quote

from skep.base.errors import UsageError
from skep.base.telemetry import Telemetry
from skep.config.apollo import answers
from skep.config.apollo.failover import Failover
from skep.config.apollo.notifications import Notifications, query, shards
from skep.config.apollo.server import ApolloServer, ServerAccess, ServerAnswer
from skep.config.apollo.signing import AccessKey
from skep.config.errors import ApolloError, Broken, Declined, Missing, Unreachable
from skep.config.options.table import Options
from skep.config.snapshots.pulled import Pulled
from skep.config.snapshots.snapshot import Release, canonical

T = TypeVar("T")

# Servers and proxies accept at least 8 KiB of request head; the other headers need the rest.
_LONGEST_QUERY = 7_000
# A query shorter than this is declined for another reason than its length.
_SURELY_SHORT = 1_000
_AT_ONCE = 8

log = logging.getLogger(__name__)


class Apollo:
    """One app id, cluster and list of namespaces on one or several servers.

    `data_center` is the cluster in which the server looks next, `label` a name that its gray rules
    may match. An `optional` namespace without a release has an empty one, with an empty release
    key. The first request opens the connections, also after `close`. Raises UsageError for an empty
    or repeated namespace.
    """

    def __init__(
        self,
        servers: Failover,
        app_id: str,
        cluster: str,
        namespaces: Sequence[str],
        *,
        data_center: str = "",
        label: str = "",
        optional: bool = False,
        telemetry: Telemetry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._servers = servers
        self.app_id = app_id
        self.cluster = cluster
        self.namespaces = _distinct(namespaces)
        self._polled_with = _given(appId=app_id, cluster=cluster, dataCenter=data_center)
        self._pulled_with = _given(dataCenter=data_center, label=label)
        self._optional = optional
        self._telemetry = telemetry or Telemetry()
        self._clock = clock
        self._known: dict[str, Release] = {}
        self._released: set[str] = set()
        self._notifications = Notifications(self.namespaces)
        self._longest_query = _LONGEST_QUERY
        self._proved = False
        # Which namespace is asked for first while it is not known that the server is well.
        self._probe_index = 0
        self._warned_of_proxy = False

    @classmethod
    def of(cls, options: Options, telemetry: Telemetry | None = None) -> Self:
        """Return the client of the platform with these options. Raises UsageError."""
        key = AccessKey(options.app_id, options.config_secret, options.config_secret_file)
        access = ServerAccess(key=key, ip=options.config_ip, ca=options.config_ca)
        return cls(
            Failover(options.config_server, options.config_meta, access=access),
            options.app_id,
            options.cluster,
            options.namespace,
            data_center=options.data_center,
            label=options.config_label,
            optional=options.config_policy == "optional",
            telemetry=telemetry,
        )

    @property
    def url(self) -> str:
        """The address of the server that is asked next, without user and password."""
        return self._servers.url

    @property
    def unannounced(self) -> bool:
        """Whether a pull has found a new release that no poll announced."""
        return bool(self._notifications.unaccounted)

    async def pull(self, full: bool = False) -> Pulled:
        """Return the present release of each namespace, or why there is none.

        A namespace that did not change is not sent again, unless `full`. Raises ApolloError if
        there is no release of any namespace, and when the server itself is in trouble.
        """
        known = {} if full else self._known
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(namespace: str) -> Release | ApolloError:
            async with gate:
                try:
                    return await self._timed(namespace, known.get(namespace))
                except ApolloError as error:
                    return error

        names = list(self.namespaces)
        found: dict[str, Release | ApolloError] = {}
        if not self._proved:
            # Try one request first, so that a failing server is not asked for everything at once.
            first = names.pop(self._probe_index)
            found[first] = probe = await one(first)
            if isinstance(probe, ApolloError) and not isinstance(probe, Missing | Declined):
                # Perhaps only this namespace fails: begin the next pull with another.
                self._probe_index = (self._probe_index + 1) % len(self.namespaces)
                raise probe
        self._proved = False
        # Not a TaskGroup: callers wait for the error itself, not for a group of errors.
        tasks = [asyncio.ensure_future(one(name)) for name in names]
        try:
            found |= zip(names, await asyncio.gather(*tasks), strict=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        found = {name: found[name] for name in self.namespaces}
        self._take(found)
        return Pulled(found, fetched_at=self._clock())

    def _take(self, found: Mapping[str, Release | ApolloError]) -> None:
        """Remember the releases. Without any, raise an error, preferably one that may pass."""
        releases = [one for one in found.values() if isinstance(one, Release)]
        errors = [one for one in found.values() if isinstance(one, ApolloError)]
        if not releases:
            raise min(errors, key=lambda error: error.definite)
        self._proved = all(error.definite for error in errors)
        self._notifications.pulled(r.namespace for r in releases if self._is_new(r))
        self._known |= {release.namespace: release for release in releases}
        self.remember(releases)

    def remember(self, releases: Iterable[Release]) -> None:
        """Note that these namespaces have had a release, so none of them is optional any more."""
        self._released.update(r.namespace for r in releases if r.release_key)

    async def changes(self) -> dict[str, int]:
        """Wait until the server reports something newer than what was confirmed.

        Returns notification ids by namespace, for `confirm` after a pull; none at the end of the
        server's hold. Raises ApolloError.
        """
        news = self._notifications.news(await self._poll_all())
        for namespace in news:
            self._telemetry.point("config.notification", namespace=namespace)
        return news

    def confirm(self, news: Mapping[str, int]) -> bool:
        """After a pull, settle what `changes` returned; return whether it announced a release.

        What no pull has shown is polled for a few more times before it is settled.
        """
        fruitful = self._notifications.confirm(news)
        if not fruitful and self._notifications.doubtful:
            self._servers.turn()
        return fruitful

    def forget(self) -> None:
        """Poll next as if nothing had ever been confirmed: it may be another server."""
        self._notifications.forget()

    async def close(self) -> None:
        """Close every connection."""
        await self._servers.close()

    def _is_new(self, release: Release) -> bool:
        known = self._known.get(release.namespace)
        return known is None or known.release_key != release.release_key

    async def _timed(self, namespace: str, known: Release | None) -> Release:
        start = time.perf_counter()

        def report(outcome: str, reason: str = "") -> None:
            seconds = time.perf_counter() - start
            self._telemetry.point(
                "config.pull", namespace=namespace, outcome=outcome, reason=reason, seconds=seconds
            )

        try:
            release = await self._fetch(namespace, known)
        except ApolloError as error:
            report("error", error.reason)
            raise
        report("changed" if self._is_new(release) else "unchanged")
        return release

    async def _fetch(self, namespace: str, known: Release | None) -> Release:
        path = "/".join(quote(part, safe="") for part in (self.app_id, self.cluster, namespace))
        params = _given(releaseKey=known.release_key if known else "") | self._pulled_with
        params |= _given(messages=self._notifications.messages(namespace))

        def read(server: ApolloServer, got: ServerAnswer) -> Release:
            if got.status == 304 and known is not None and known.release_key:
                return known
            if got.status == 404:
                return self._without_release(server, namespace)
            return self._read_release(server, got, namespace, known)

        try:
            return await self._servers.ask(f"/configs/{path}", params, read)
        except answers.NeedsFull:
            return await self._fetch(namespace, None)

    def _read_release(
        self, server: ApolloServer, got: ServerAnswer, namespace: str, known: Release | None
    ) -> Release:
        what = f"app {self.app_id}, namespace {namespace}"
        server.check(got, what)
        try:
            key, configurations = answers.release(got.body, known)
        except answers.NeedsFull as error:
            if known is not None:
                raise
            raise server.not_apollo(what, str(error), got) from error
        except answers.NoConfigurations as error:
            raise server.empty(what, str(error)) from error
        except answers.Malformed as error:
            raise server.not_apollo(what, str(error), got) from error
        return Release(self.app_id, self.cluster, namespace, key, configurations)

    def _without_release(self, server: ApolloServer, namespace: str) -> Release:
        if not self._optional or namespace in self._released:
            raise Missing(
                f"The config server {server.url} has no release of namespace {namespace} for app "
                f"{self.app_id} in cluster {self.cluster}: publish one, or correct the names.",
                404,
            )
        if namespace not in self._known:
            log.warning("The namespace %s has no release yet; starting without it.", namespace)
        return Release(self.app_id, self.cluster, namespace, "", {})

    async def _poll_all(self) -> list[answers.PollEntry]:
        """Poll for all namespaces, in as many requests as their names need; the first answers."""
        while True:
            parts = shards(self._notifications.ids, self._longest_query)
            try:
                return await _first([self._poll(part) for part in parts])
            except Declined:
                longest = max(len(quote(query(part))) for part in parts)
                if longest < _SURELY_SHORT or all(len(part) == 1 for part in parts):
                    self._longest_query = _LONGEST_QUERY
                    raise
                self._longest_query = longest // 2

    async def _poll(self, ids: Mapping[str, int]) -> list[answers.PollEntry]:
        what = f"app {self.app_id}, the poll for changes"
        params = {**self._polled_with, "notifications": query(ids)}
        start = time.perf_counter()

        def read(server: ApolloServer, got: ServerAnswer) -> list[answers.PollEntry]:
            if got.status == 304:
                return []
            server.check(got, what)
            try:
                return answers.notifications(got.body)
            except answers.Malformed as error:
                raise server.not_apollo(what, str(error), got) from error

        try:
            return await self._servers.poll("/notifications/v2", params, read)
        except (Broken, Unreachable) as error:
            held = time.perf_counter() - start
            if held < self._servers.timeouts.proxy or error.status not in (0, 502, 504):
                raise
            self._proxy_cut_off(error, held)
            return []

    def _proxy_cut_off(self, error: ApolloError, held: float) -> None:
        """Note that a proxy seems to have cut off a poll, which counts as a poll without news."""
        if isinstance(error, Unreachable):
            self._notifications.forget()
        if not self._warned_of_proxy:
            log.warning(
                "%s It had held the poll for %.0f s: give a proxy in front of it a longer timeout, "
                "or the server a shorter hold.",
                error,
                held,
            )
        self._warned_of_proxy = True


def _given(**params: str) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


def _distinct(namespaces: Sequence[str]) -> tuple[str, ...]:
    names = [canonical(namespace) for namespace in namespaces]
    if not names or not all(names):
        raise UsageError("The list of namespaces is empty, or a name in it is: give at least one.")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise UsageError(f"The namespace {name} is given twice; Apollo ignores case.")
        seen.add(name.casefold())
    return tuple(names)


async def _first(coroutines: Sequence[Coroutine[None, None, list[T]]]) -> list[T]:
    """Return the result of the first to return or fail, and cancel the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return [item for task in done for item in task.result()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
