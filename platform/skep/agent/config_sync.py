"""Following the config server: pull, check, stage, offer.

    start ──► pull ──► offer                     no server: offer what the start policy allows and
                 │                               go on trying; nothing is allowed: ConfigError
    ┌────────────┴─────────────┬─────────────────────────────────────────────────┐
    follow                     refresh                                           retry
    poll ► pull ► confirm ─┐   every 5 minutes, and after a suspend: pull        pull with growing
     ▲                     │   everything again                                  pauses while some
     └─────────────────────┘                                                     namespaces fail

Each namespace is judged alone (`skep.config.snapshots.pulled`): one whose release is missing,
cannot be fetched or must not be applied is *held*, it keeps the release it has, and others go on.

A poll says only that something changed. It is confirmed after the pull, so that the server repeats
it when anything fails in between. The full pull finds what no poll announced: a lost notification,
a restored database, a server that counts from elsewhere. Then the ids are dropped, and also every
hour, for what no pull can show.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from skep.base.backoff import Backoff
from skep.base.errors import ConfigError
from skep.base.telemetry import Telemetry
from skep.config.apollo.client import Apollo
from skep.config.errors import ApolloError, Forbidden, Missing, Throttled, TooSlow, Unusable
from skep.config.snapshots.archive import Source, StartSource
from skep.config.snapshots.pulled import Assembly, Held, Pulled
from skep.config.snapshots.snapshot import Release, Snapshot

Reason = Literal["start", "notification", "refresh"]

# A wait consists of naps; during one that takes this much longer the machine was suspended
# (CLOCK_BOOTTIME goes on then, the event loop's clock does not).
_NAP, _SUSPENDED = 5.0, 10.0
_TROUBLE, _REFUSAL = Backoff(), Backoff(first=5.0, jitter=0.2)
# Seconds; a mistaken server must not make us pause for a day.
_LONGEST_PAUSE = 300.0
_START_WARNINGS = {
    "cache": "The platform starts with the config of its last run.",
    "file": "The platform starts with the config that is in the environment file.",
    "none": "The platform starts without any config; it is picked up when there is one.",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A snapshot that was pulled, checked and staged, but is not in force.

    `path` is where the archive keeps it. `notified_at` is when the server announced it, in epoch
    seconds, 0 if it did not.
    """

    snapshot: Snapshot
    path: Path
    source: Source
    reason: Reason
    notified_at: float = 0.0


@dataclass(frozen=True)
class Following:
    """How one namespace is followed.

    `trouble` says why its release is not the newest, empty if it is; `reason` is a word for it.
    `refused` is the key of a release that must not be applied.
    """

    namespace: str
    trouble: str = ""
    reason: str = ""
    refused: str = ""


@dataclass(frozen=True)
class ConfigState:
    """The state of the config for `platform status`.

    `url` is the server that was asked last. `source` and `release_keys` belong to the snapshot
    offered last. `connected` is whether the last poll was answered. `last_pull_at` is in seconds
    since the epoch, 0 for never. `last_error` and its `reason` are empty when all is well.
    """

    url: str
    app_id: str
    cluster: str
    namespaces: tuple[str, ...]
    source: Source = "none"
    release_keys: Mapping[str, str] | None = None
    connected: bool = False
    last_pull_at: float = 0.0
    last_error: str = ""
    reason: str = ""
    following: tuple[Following, ...] = ()


@dataclass(frozen=True)
class Waits:
    """Times in seconds.

    `start` bounds the first pull when there is nothing else to start from, `start_with_cache` when
    there is. `refresh` is the time between full pulls, varied by a tenth; `trust` the life of
    notification ids. Polls without a new release are `poll_gap` apart. `offer` bounds handing on a
    candidate. `trouble` is for errors that pass by themselves, `refusal` for definite ones.
    """

    start: float = 10.0
    start_with_cache: float = 2.0
    refresh: float = 300.0
    trust: float = 3600.0
    poll_gap: float = 1.0
    offer: float = 10.0
    trouble: Backoff = _TROUBLE
    refusal: Backoff = _REFUSAL


_WAITS = Waits()


def time_with_suspends() -> float:
    """Return seconds on a monotonic clock that goes on while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Complaints:
    """The reported problems, so that each is reported once, and again `interval` seconds later or
    after `clear`, however often it happens. Pure but for its memory."""

    # Only a server that varies its texts has more than this; then the oldest are dropped.
    _MOST = 32

    def __init__(self, interval: float = 60.0) -> None:
        self._interval = interval
        self._reported: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._reported)

    def due(self, text: str, now: float) -> bool:
        """Return whether to report it, and then count it as reported. `now` is in seconds."""
        said = self._reported.get(text)
        if said is not None and now - said < self._interval:
            return False
        self._reported.pop(text, None)
        self._reported[text] = now
        if len(self._reported) > self._MOST:
            del self._reported[next(iter(self._reported))]
        return True

    def clear(self) -> None:
        self._reported.clear()


class ConfigSync:
    """Follows one config server until it is cancelled.

    `offer` is awaited with every candidate whose content or release keys differ from the last one,
    whatever became of that. Equal content under a new key causes no rollout, but its new name
    counts. `report` is called with every new state.
    """

    def __init__(
        self,
        apollo: Apollo,
        start_source: StartSource,
        offer: Callable[[Candidate], Awaitable[None]],
        report: Callable[[ConfigState], None],
        *,
        telemetry: Telemetry | None = None,
        waits: Waits = _WAITS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time_with_suspends,
    ) -> None:
        self._apollo = apollo
        self._start_source = start_source
        self._archive = start_source.archive
        self._offer = offer
        self._report = report
        self._telemetry = telemetry or Telemetry()
        self._waits = waits
        self._sleep = sleep
        self._clock = clock
        self._complaints = Complaints()
        self._pulling = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        self._offered: Snapshot | None = None
        self._failed_polls = 0
        self._notified_at = 0.0
        self._may_poll_at = 0.0
        # Why some namespaces are held, if that may pass by itself; the event is set while it is.
        self._passing: ApolloError | None = None
        self._retry_wanted = asyncio.Event()
        self._state = ConfigState(
            apollo.url,
            apollo.app_id,
            apollo.cluster,
            apollo.namespaces,
            following=tuple(map(Following, apollo.namespaces)),
        )

    async def run(self) -> None:
        """Follow the server until cancelled, then close every connection. Raises ConfigError
        without a server and a config of an earlier run."""
        try:
            trouble = await self._start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(trouble), name="config follow")
                group.create_task(self._refresh(), name="config refresh")
                group.create_task(self._retry(), name="config retry")
        finally:
            self._set_connected(False)
            await self._apollo.close()

    async def _start(self) -> ConfigError | None:
        """Offer a configuration to start from; return the error of the first pull, if any."""
        start = self._start_source.find()
        if start is not None:
            self._apollo.remember(start.snapshot.releases)
        try:
            await self._accept(await self._first_pull(patient=start is None), "start")
        except ConfigError as error:
            if start is None:
                nothing = f"There is no config of an earlier run in {self._archive.directory}"
                nothing += " to start from."
                if self._start_source.policy == "require":
                    nothing = "Nothing else is started from with --config-policy require."
                error.args = (f"{error} {nothing}", *error.args[1:])
                raise
            self._all_held(error)
            log.warning(_START_WARNINGS[start.source])
            await self._consider(start.snapshot, start.source, "start")
            return error
        return None

    async def _first_pull(self, patient: bool) -> Assembly:
        """Pull until each namespace has a release, the server refuses for good, or time is up.
        Without `patient`, any error ends it: there is something else to start from."""
        seconds = self._waits.start if patient else self._waits.start_with_cache
        last: ApolloError = TooSlow(
            f"The config server {self._apollo.url} did not answer within {seconds:g} s."
        )
        try:
            async with asyncio.timeout(seconds):
                for failures in count(1):
                    try:
                        assembly = self._assembled(await self._apollo.pull())
                        assembly.snapshot()
                        return assembly
                    except ApolloError as error:
                        if error.definite or not patient:
                            raise
                        last = error
                        self._all_held(error)
                    await self._back_off(last, failures)
        except TimeoutError:
            pass
        raise last

    async def _follow(self, trouble: ConfigError | None) -> None:
        if isinstance(trouble, ApolloError):
            await self._back_off(trouble, 1)
            await self._catch_up("start")
        while True:
            if (left := self._may_poll_at - self._clock()) > 0:
                await self._sleep(left)
            try:
                news = await self._poll()
            except ApolloError as error:
                await self._poll_failed(error)
                continue
            if news is None:
                continue
            self._failed_polls = 0
            self._set_connected(True)
            if news:
                self._notified_at = time.time()
                await self._catch_up("notification")
                self._notified_at = 0.0
            if not self._apollo.confirm(news):
                # Allow one such poll at once, then one in each `poll_gap`: two namespaces that are
                # published together cause two polls, which must not delay the next publish.
                self._may_poll_at = max(self._may_poll_at + self._waits.poll_gap, self._clock())

    async def _refresh(self) -> None:
        trusted_since = self._clock()
        while True:
            suspended = await self._rest(self._waits.refresh * random.uniform(0.9, 1.1))
            await self._catch_up("refresh", full=True)
            stale = self._clock() - trusted_since >= self._waits.trust
            if suspended or stale or self._apollo.unannounced:
                trusted_since = self._clock()
                self._apollo.forget()
                self._end_poll()

    async def _retry(self) -> None:
        while True:
            await self._retry_wanted.wait()
            for failures in count(1):
                if self._passing is None:
                    break
                await self._back_off(self._passing, failures)
                await self._catch_up("refresh")

    async def _poll(self) -> Mapping[str, int] | None:
        """Return the server's news, or None if the refresh ended the poll."""
        try:
            async with asyncio.timeout(None) as self._patience:
                return await self._apollo.changes()
        except TimeoutError:
            return None
        finally:
            self._patience = None

    def _end_poll(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.reschedule(asyncio.get_running_loop().time())

    async def _poll_failed(self, error: ApolloError) -> None:
        self._failed_polls += 1
        self._set_connected(False)
        self._report_error(error)
        # The next server to answer may be another one, with other ids.
        self._apollo.forget()
        await self._back_off(error, self._failed_polls)

    async def _catch_up(self, reason: Reason, full: bool = False) -> None:
        """Pull until the server has given a final answer, even if nothing in it is usable."""
        for failures in count(1):
            try:
                # One at a time: a slower answer must not overtake a newer one.
                async with self._pulling:
                    assembly = self._assembled(await self._apollo.pull(full))
                    return await self._accept(assembly, reason)
            except (Missing, Unusable) as error:
                return self._all_held(error)
            except ConfigError as error:
                self._all_held(error)
                await self._back_off(error, failures)

    def _assembled(self, pulled: Pulled) -> Assembly:
        assembly = pulled.assemble(self._kept)
        held = {one.namespace: one for one in assembly.held}
        following = tuple(
            _following(known, held.get(known.namespace)) for known in self._state.following
        )
        self._change(last_pull_at=pulled.fetched_at, url=self._apollo.url, following=following)
        self._passing = assembly.passing
        if self._passing is not None:
            self._retry_wanted.set()
        else:
            self._retry_wanted.clear()
        return assembly

    def _kept(self, namespace: str, error: ConfigError) -> Release | None:
        """Return the release that a namespace keeps after this error.

        If the error may pass, that is the last one pulled. Otherwise it is the one in force: the
        last one pulled may have been refused, and would prevent the others from being applied.
        """
        pulled = self._offered.release(namespace) if self._offered else None
        in_force = self._start_source.kept(namespace)
        passing = isinstance(error, ApolloError) and not error.definite
        return (pulled or in_force) if passing else (in_force or pulled)

    def _all_held(self, error: ConfigError) -> None:
        """Report why a pull gave nothing for any namespace."""
        about = str(error)
        if isinstance(error, ApolloError):
            following = tuple(_troubled(one, error) for one in self._state.following)
            self._change(following=following)
            if error.status:  # its text names the namespace that was asked for first, each in turn
                about = f"{error.reason} {error.status}"
        self._report_error(error, about)

    async def _accept(self, assembly: Assembly, reason: Reason) -> None:
        """Raises the error of a namespace that has no release at all."""
        snapshot = assembly.snapshot()
        source: Source = "remote"
        if len(assembly.held) == len(snapshot.releases):  # the server gave nothing
            first: Source = "cache" if any(snapshot.release_keys().values()) else "none"
            source = self._state.source if self._offered else first
        await self._consider(snapshot, source, reason)
        for held in assembly.held:
            self._report_error(held.error)
        if not self._failed_polls and not assembly.held:
            self._clear_error()

    async def _consider(self, snapshot: Snapshot, source: Source, reason: Reason) -> None:
        """Stage and offer a snapshot unless it was the last to be offered."""
        keys, last = snapshot.release_keys(), self._offered
        if last is None or (snapshot.digest, keys) != (last.digest, last.release_keys()):
            path = self._archive.stage(snapshot)
            self._archive.prune()
            await self._deliver_offer(Candidate(snapshot, path, source, reason, self._notified_at))
        self._offered = snapshot
        self._change(source=source, release_keys=keys)

    async def _deliver_offer(self, candidate: Candidate) -> None:
        """Offer a candidate. Raises ConfigError if the receiver fails or hangs."""
        try:
            async with asyncio.timeout(self._waits.offer):
                await self._offer(candidate)
        except Exception as error:
            text = f"The new config could not be handed on ({error!r:.200}); it is tried again."
            raise ConfigError(text) from error

    async def _back_off(self, error: ConfigError, failures: int) -> None:
        passing = isinstance(error, ApolloError) and not error.definite
        throttled = isinstance(error, Throttled)
        backoff = self._waits.trouble if passing and not throttled else self._waits.refusal
        pause = error.pause if isinstance(error, ApolloError) else 0.0
        await self._sleep(max(backoff.delay(failures), min(pause, _LONGEST_PAUSE)))

    async def _rest(self, seconds: float) -> bool:
        """Sleep; return True early if the machine was suspended."""
        until = self._clock() + seconds
        while (left := until - (before := self._clock())) > 0:
            nap = min(left, _NAP)
            await self._sleep(nap)
            if self._clock() - before > nap + _SUSPENDED:
                return True
        return False

    def _report_error(self, error: ConfigError, about: str = "") -> None:
        """Report an error, and log it unless one about the same was logged lately."""
        reason = error.reason if isinstance(error, ApolloError | Unusable) else "other"
        self._change(last_error=str(error), reason=reason)
        due = self._complaints.due(about or str(error), self._clock())
        # The supervisor logs refused releases.
        if due and not isinstance(error, Unusable):
            log.warning("%s", error)

    def _clear_error(self) -> None:
        self._change(last_error="", reason="")
        if self._complaints:
            log.info("The config of %s is followed again.", self._apollo.url)
            self._complaints.clear()

    def _set_connected(self, connected: bool) -> None:
        if connected != self._state.connected:
            self._telemetry.point("config.long_poll", connected=int(connected))
            self._change(connected=connected)

    def _change(self, **fields: Any) -> None:
        state = replace(self._state, **fields)
        if state != self._state:
            self._state = state
            self._report(state)


def _following(known: Following, held: Held | None) -> Following:
    if held is None:
        return Following(known.namespace)
    if isinstance(held.error, ApolloError):
        return _troubled(known, held.error)
    return Following(known.namespace, str(held.error), held.error.reason, held.release_key)


def _troubled(known: Following, error: ApolloError) -> Following:
    """A refused release stays refused until the server answers otherwise."""
    passing = not error.definite or isinstance(error, Forbidden)
    if known.refused and passing:
        return known
    return Following(known.namespace, str(error), error.reason)
