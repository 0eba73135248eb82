"""The agent: config sync, code watch and the console; each may fail without the others."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from skep.agent.code_watch import CodeWatch
from skep.agent.config_sync import Candidate, ConfigState, ConfigSync, Waits
from skep.agent.console import build, serve
from skep.base.backoff import Backoff
from skep.base.errors import PlatformError
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.apollo.client import Apollo
from skep.config.options.endpoints import read_token
from skep.config.options.sources import sources
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive, Policy, StartSource
from skep.wire.messages import Boot, Message, NoConfiguration, Reported, RolloutAsked

_UNCONFIGURED = Backoff(first=5.0, jitter=0.2)
_FROM = {"cache": " from the cache", "file": ", but the block of the environment file"}

log = logging.getLogger(__name__)


class Agent:
    """The agent slot. Its config sync begins before it listens: without a configuration the
    platform has no ports."""

    def __init__(self, boot: Boot, send: Callable[[Message], None], telemetry: Telemetry) -> None:
        self._options = Options.from_json(boot.options)
        self._run_id = boot.run_id
        self._run_dir = RunDir(self._options.data_dir)
        self._send = send
        self._telemetry = telemetry
        self._duties: list[asyncio.Task[None]] = []
        self._first_offer = asyncio.Event()
        self._stop = asyncio.Event()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that it follows."""
        return self._options.namespace

    async def prepare(self) -> None:
        """Begin to follow the configuration, and with `--watch` the code."""
        self._start_duty("config sync", self._sync)
        if self._options.watch:
            self._start_duty("code watch", self._watch)
        if self._options.tracing != "off":
            self._start_duty("tracing", self._trace)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Serve the console on the admin port."""
        token = read_token(self._options.admin_token_file)
        app = build(self._run_dir.control_socket, token, self._options.metrics_naming)
        return asyncio.create_task(serve(listeners["admin"], app, self._options, self._stop))

    def retire(self) -> Mapping[str, Any]:
        """Cancel all duties."""
        for duty in self._duties:
            duty.cancel()
        return {}

    async def drain(self, deadline: float) -> None:
        """Wait until the duties have closed their connections."""
        self._stop.set()
        if self._duties:
            await asyncio.wait(self._duties, timeout=1.0)

    async def stop(self) -> None:
        """Do nothing: all is closed."""

    def _start_duty(self, name: str, duty: Callable[[], Awaitable[None]]) -> None:
        self._duties.append(asyncio.create_task(_keep(name, duty), name=name))

    async def _sync(self) -> None:
        """Follow the configuration. Without one the platform does not start; an agent that is
        restarted beside serving workers goes on trying."""
        for failures in itertools.count(1):
            try:
                return await self._follow()
            except PlatformError as error:
                self._send(NoConfiguration(str(error), error.exit_code))
            await asyncio.sleep(_UNCONFIGURED.delay(failures))

    async def _follow(self) -> None:
        options = self._options
        archive = Archive.of(options, self._run_dir.config_dir)
        policy = "optional" if options.offline else cast("Policy", options.config_policy)
        start_source = StartSource(archive, options.env_path, policy)
        if options.offline:
            return await self._start_offline(start_source)
        await ConfigSync(
            Apollo.of(options, self._telemetry),
            start_source,
            self._offer,
            self._report,
            telemetry=self._telemetry,
            waits=Waits(start=options.config_timeout),
        ).run()

    async def _start_offline(self, start_source: StartSource) -> None:
        """Offer what was applied last, and ask no config server. Raises ConfigError if nothing can
        be read or kept."""
        start = start_source.find()
        if start is None:
            return
        log.warning("No config server is asked; the config comes from: %s.", start.source)
        path = start_source.archive.stage(start.snapshot)
        await self._offer(Candidate(start.snapshot, path, start.source, "start"))
        options, keys = self._options, start.snapshot.release_keys()
        self._report(
            ConfigState("", options.app_id, options.cluster, options.namespace, start.source, keys)
        )

    async def _offer(self, candidate: Candidate) -> None:
        keys = ", ".join(f"{n} {k}" for n, k in candidate.snapshot.release_keys().items() if k)
        reason = f"release {keys}" if keys else "no release"
        reason += _FROM.get(candidate.source, "")
        self._send(
            RolloutAsked(
                "config",
                reason,
                snapshot=str(candidate.path),
                notified=candidate.notified_at,
                pulled=candidate.snapshot.fetched_at,
            )
        )
        self._first_offer.set()

    def _report(self, state: ConfigState) -> None:
        self._send(Reported(asdict(state)))

    async def _watch(self) -> None:
        await self._first_offer.wait()  # nothing can roll out before it
        await self._code_watch().run()

    async def _trace(self) -> None:
        try:
            from skep.agent.rollout_spans import export
        except ImportError:  # each generation is refused, with the reason
            return
        options = self._options
        await export(self._run_dir.operations_file, options.app_id, self._run_id)

    def _code_watch(self) -> CodeWatch:
        options, noted = self._options, self._run_dir.own_writes(self._run_id)
        for other in noted.parent.glob("own-writes.*"):
            if other != noted:  # of a run that was killed
                other.unlink(missing_ok=True)
        for folder in options.watch_paths:
            if not Path(folder).is_dir():
                log.warning("PLATFORM_WATCH_PATHS has %s, which is not a folder", folder)
        plugins = [Path(folder).absolute() for folder in options.plugins]
        return CodeWatch(sources(options), plugins, noted, self._send, self._telemetry)


async def _keep(name: str, duty: Callable[[], Awaitable[None]]) -> None:
    backoff = Backoff()
    for failures in itertools.count(1):
        try:
            return await duty()
        except Exception:
            log.exception("%s failed; restarting it", name)
        await asyncio.sleep(backoff.delay(failures))
