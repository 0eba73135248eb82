"""Which instance runs which release, while a person looks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.model.instances import InstanceConfig
from skep.configserver.model.names import Address
from skep.configserver.model.rights import Actor
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.configserver.storage import branches, instances, releases
from skep.pages.live import event_stream
from skep.pages.refusals import PageRefused
from skep.pages.visit import Visit

# Seconds between two looks while no release is published, and between signs of life.
_LOOK, _ALIVE = 1.0, 15.0
_MOST_STREAMS = 200


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance; `state` says how its release stands to those in force."""

    ip: str
    app_id: str
    cluster: str
    data_center: str
    release: str
    state: str
    delivered_at: int
    seen_at: int


class InstancePages:
    """Shows the instances of a namespace, or of the branch at its address."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context
        self._streams = 0

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/instances", self.instances),
            site.get(f"{NAMESPACE}/instances/events", self.events),
        ]

    async def instances(self, visit: Visit) -> Response:
        """Show the instances."""
        at = self._context.address(visit)
        rows = await self.rows(actor_of(visit), at)
        events = namespace_path(at, "instances", "events")
        return self._context.namespace_page(
            visit, at, "instances.html", "Instances", rows=rows, events=events
        )

    async def events(self, visit: Visit) -> Response:
        """Answer the instances whenever they change."""
        at = self._context.address(visit)
        if self._streams >= _MOST_STREAMS:
            raise PageRefused(503, "Too many pages show instances at once: load this one by hand.")
        return event_stream(self._fragments(visit, at))

    async def rows(self, actor: Actor, at: Address) -> list[InstanceRow]:
        """Return the instances that run a release of a namespace."""
        await self._context.write(self._context.editing.book.flush)
        reader = self._context.desk.database.reader
        branch = branches.of_address(reader, at)
        found = instances.of_namespace(reader, branch.parent if branch else at)
        names = self._names(found)
        parent = branch.parent if branch else at
        current = releases.latest(reader, parent)
        gray = branches.of_parent(reader, parent)
        states = {current.release_key: "in force"} if current else {}
        if gray is not None and gray.release_id is not None:
            states[releases.by_id(reader, gray.release_id).release_key] = "gray"
        rows = [
            InstanceRow(
                one.ip,
                one.app_id,
                one.cluster,
                one.data_center,
                names[one.release_key],
                states.get(one.release_key, "old"),
                one.delivered_at,
                one.seen_at,
            )
            for one in found
        ]
        return [row for row in rows if branch is None or row.state == "gray"]

    def _names(self, found: Sequence[InstanceConfig]) -> dict[str, str]:
        reader = self._context.desk.database.reader
        known = {key: releases.by_key(reader, key) for key in {one.release_key for one in found}}
        return {
            key: f"{one.name} ({one.id})" if one else "a release that is deleted"
            for key, one in known.items()
        }

    async def _fragments(self, visit: Visit, at: Address) -> AsyncIterator[str | None]:
        self._streams += 1
        loop = asyncio.get_running_loop()
        shown, spoke = "", loop.time()
        try:
            while self._context.site.sessions.account(visit.session) is not None:
                rows = await self.rows(actor_of(visit), at)
                text = self._context.site.fragment("instance_rows.html", rows=rows)
                if text != shown or loop.time() - spoke > _ALIVE:
                    yield text if text != shown else None
                    shown, spoke = text, loop.time()
                if not await self._wait(at):
                    return
        finally:
            self._streams -= 1

    async def _wait(self, at: Address) -> bool:
        """Wait until something may have changed; return whether the server goes on."""
        with self._context.watchers.waiting([at]) as waiter:
            done, _ = await asyncio.wait({waiter}, timeout=_LOOK)
        return not done or waiter.result() is not None
