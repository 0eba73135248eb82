"""A custom process: one object of an author's class, which runs until it ends or has to."""

import asyncio
import inspect
import logging
import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from skep.api.processes.context import ProcessContext
from skep.api.processes.process import Process
from skep.base.commands.command import ExternalCommand
from skep.base.commands.running import CommandExit, RunningCommand, start
from skep.base.errors import CommandError
from skep.base.system.privileges import identity
from skep.messaging.address import InboxAddress
from skep.messaging.inbox import Inbox
from skep.worker.calling import completed, in_own_thread
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

# The environment variable that names the slot to an external program.
SLOT = "SKEP_SLOT"
_FAILED = 1
# How long what was cut off may take to clean up.
_FAREWELL = 2.0


class Work(Protocol):
    """What a process does: the `run` of its class, or an external program."""

    is_coroutine: bool

    async def run(self) -> int:
        """Do it to its end; return the exit status. Cancelling this cuts it off."""
        ...

    def end(self, seconds: float) -> None:
        """Ask it to end within so many seconds; `run` returns then."""


class ProcessKind:
    """Runs the process of one slot.

    When it has to end, `ctx.stopping` is set, and then its `on_reload` and `on_stop` are called
    while it goes on; what has not ended at the deadline is cut off.
    """

    def __init__(self, workplace: Workplace) -> None:
        name = workplace.slot.partition(".")[2].rpartition(".")[0]
        self._workplace = workplace
        self._class = workplace.catalog.processes[name]
        self._ctx = ProcessContext(workplace.slot, workplace.generation)
        self._process: Process
        self._work: Work
        self._running: asyncio.Task[int] | None = None
        self._inbox: Inbox | None = None

    async def prepare(self) -> None:
        """Make the object; what its constructor raises refuses the generation."""
        self._process = self._class()
        has_command = bool(self._class.terms.command)
        self._work = (_Program if has_command else _Run)(self._process, self._ctx)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[int]:
        for name, sock in listeners.items():
            address = InboxAddress(self._workplace.inboxes, name)
            telemetry = self._workplace.telemetry
            self._inbox = self._class.open_inbox(address, sock, telemetry)
            messages = partial(self._class.messages_from, self._inbox, telemetry)
            self._ctx.receive_from(self._inbox, messages)
        self._running = asyncio.create_task(self._run())
        return self._running

    def retire(self) -> Mapping[str, Any]:
        self._ctx.stop()
        return {}

    async def drain(self, deadline: float) -> None:
        """Call the hooks, and wait for them and the work until the deadline."""
        if self._running is None:
            return
        left = deadline - asyncio.get_running_loop().time()
        if not self._ends_by_itself():
            self._running.cancel()
        self._work.end(left)
        hooks = asyncio.create_task(self._call_hooks())
        await asyncio.wait({hooks, self._running}, timeout=left)
        if not hooks.done():
            log.warning("The hooks of %s have not ended in time.", self._ctx.slot)
            hooks.cancel()

    async def stop(self) -> None:
        """Cut off what still runs. A thread cannot be cancelled: it ends with the process."""
        if self._running is None or self._running.done():
            return
        log.warning("%s has not ended in time and is cut off.", self._ctx.slot)
        self._running.cancel()
        await asyncio.wait({self._running}, timeout=_FAREWELL)

    def _ends_by_itself(self) -> bool:
        """Whether the work may know that it has to end. A coroutine that never looked at
        `ctx.stopping`, and whose class has no hook that could notify it, does not."""
        has_hooks = (self._class.on_stop, self._class.on_reload) != (
            Process.on_stop,
            Process.on_reload,
        )
        return self._ctx.watches or has_hooks or not self._work.is_coroutine

    async def _run(self) -> int:
        """Return the exit status of the work, whatever it raises."""
        try:
            return await self._work.run()
        except SystemExit as asked:
            return self._exit_status(asked)
        except CommandError as error:
            log.error("%s: %s", self._ctx.slot, error)
            return _FAILED
        except Exception:
            log.exception("%s failed.", self._ctx.slot)
            return _FAILED
        finally:
            if self._inbox is not None:  # those that wait for replies learn now that none comes
                self._inbox.close()

    def _exit_status(self, asked: SystemExit) -> int:
        if asked.code is None:
            return 0
        if isinstance(asked.code, int):
            return asked.code & 0xFF
        log.error("%s: %s", self._ctx.slot, asked.code)
        return _FAILED

    async def _call_hooks(self) -> None:
        if self._workplace.replaced():
            await self._call("on_reload")
        await self._call("on_stop")

    async def _call(self, hook: str) -> None:
        try:
            await completed(getattr(self._process, hook)(self._ctx))
        except (Exception, SystemExit):
            log.exception("The hook %s of %s failed.", hook, self._ctx.slot)


class _Run:
    """The `run` of a class: in the event loop, or in a thread if it is a plain `def`."""

    def __init__(self, process: Process, ctx: ProcessContext) -> None:
        self._process = process
        self._ctx = ctx
        self.is_coroutine = inspect.iscoroutinefunction(process.run)

    async def run(self) -> int:
        run, ctx = self._process.run, self._ctx
        if self.is_coroutine:
            await completed(run(ctx))
        else:
            await completed(await in_own_thread(lambda: run(ctx), ctx.slot))
        return 0

    def end(self, seconds: float) -> None:
        """`ctx.stopping` is set by now."""


class _Program:
    """The external program of a class."""

    is_coroutine = False

    def __init__(self, process: Process, ctx: ProcessContext) -> None:
        self._terms = process.terms
        self._slot = ctx.slot
        self._program: RunningCommand | None = None
        self._seconds: float | None = None
        self._stops: asyncio.Task[CommandExit] | None = None

    async def run(self) -> int:
        """Raises CommandError when the program cannot be started."""
        user = identity(self._terms.user, "")
        environment = {**os.environ, **self._terms.environment, SLOT: self._slot}
        command = ExternalCommand(self._terms.command, environment, user=user)
        self._program = await start(command, self._slot)
        if self._seconds is not None:  # it had to end while it was started
            self.end(self._seconds)
        try:
            status = (await self._program.wait()).status
        except asyncio.CancelledError:
            await self._program.stop(0.0)
            raise
        return _FAILED if status is None else _exit_code(status)

    def end(self, seconds: float) -> None:
        self._seconds = seconds
        if self._program is not None:
            self._stops = asyncio.create_task(self._program.stop(seconds))


def _exit_code(status: int) -> int:
    """Return the exit code for a wait status, that of a shell for one killed by a signal."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)
