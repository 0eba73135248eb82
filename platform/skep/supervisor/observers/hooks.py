"""Tells the plugins' hooks what happens. They do not run here: each call is a process of its own,
forked from the generation in service, and only if a plugin of it has such a hook."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from skep.base.waiting import until
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import (
    RolloutBegan,
    RolloutReported,
    WorkerEnded,
)
from skep.supervisor.processes.exit_reason import ended, exit_facts
from skep.supervisor.rollout.execution import FirstGenerationPrepared

# A zygote that has just died has a successor after this; a call that then finds none is dropped.
_AGAIN, _TRIES = 0.1, 50
# A hook limits itself; this is for one that has stopped doing so.
_LIMIT = 60.0


class HookCalls:
    """Starts a process for each call."""

    def __init__(self, current: Callable[[], Generation | None], children: Children) -> None:
        self._current = current
        self._children = children
        self._running: set[Child] = set()
        self._postponed = 0
        self._loop = asyncio.get_running_loop()
        events = children.events
        events.subscribe(FirstGenerationPrepared, self._prepared)
        events.subscribe(RolloutBegan, self._began)
        events.subscribe(RolloutReported, self._reported)
        events.subscribe(WorkerEnded, self._ended)

    async def say_goodbye(self) -> None:
        """Call `server_stop`, and wait for all calls to end."""
        self._call("server_stop", pid=os.getpid(), generation=self._generation())
        await self._idle()

    async def _idle(self) -> None:
        """Wait for all calls to end."""
        await until(lambda: not self._running and not self._postponed, _LIMIT)

    def _prepared(self, event: FirstGenerationPrepared) -> None:
        generation = event.generation
        if generation.plan and "server_start" in generation.plan.hooks:
            info = {"pid": os.getpid(), "generation": generation.number}
            self._start("server_start", info, _TRIES, lambda: generation)
            event.before.append(self._idle)

    def _began(self, event: RolloutBegan) -> None:
        number, request = event.generation, event.request
        self._call("before_reload", generation=number, cause=request.cause, reason=request.reason)

    def _reported(self, event: RolloutReported) -> None:
        report = event.report
        if report.cause != "start" and report.outcome not in ("unchanged", "live"):
            self._call(
                "after_reload",
                generation=report.generation,
                cause=report.cause,
                reason=report.reason,
                outcome=report.outcome,
            )

    def _ended(self, event: WorkerEnded) -> None:
        child = event.child
        if not child.pid or not child.generation or child.is_forker:
            return
        info = {**exit_facts(child), "how": ended(child)}
        self._call("worker_exit", **info)
        if not child.dismissed and not event.stopping:
            self._call("worker_error", **info)

    def _generation(self) -> int:
        generation = self._current()
        return generation.number if generation else 0

    def _call(self, hook: str, **info: Any) -> None:
        generation = self._current()
        if generation is not None and generation.plan and hook in generation.plan.hooks:
            self._start(hook, info, _TRIES, self._current)

    def _start(
        self, hook: str, info: dict[str, Any], tries: int, which: Callable[[], Generation | None]
    ) -> None:
        if (generation := which()) is None or tries == 0:
            return
        boot = replace(generation.boot(f"hook.{hook}"), facts={"hook": hook, "info": info})
        child = generation.zygote.fork(boot, self._children.take, self._gone)
        if child is None:
            self._postponed += 1
            self._loop.call_later(_AGAIN, self._start_again, hook, info, tries - 1, which)
            return
        child.dismissed = True
        self._running.add(child)
        self._loop.call_later(_LIMIT, child.kill)

    def _start_again(self, *call: Any) -> None:
        self._postponed -= 1
        self._start(*call)

    def _gone(self, child: Child) -> None:
        self._children.drop(child)
        self._running.discard(child)
