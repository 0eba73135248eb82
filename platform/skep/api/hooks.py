"""What a plugin may have called around requests, and when the platform or a worker changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request


@dataclass(frozen=True)
class ServerInfo:
    """The platform: the supervisor's process id and the generation in service."""

    pid: int
    generation: int


@dataclass(frozen=True)
class ReloadInfo:
    """A rollout: which generation it is to be, or is, and why. `outcome` is empty before it."""

    generation: int
    cause: str
    reason: str
    outcome: str = ""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker. How it ended is known after its end only: `exit_code`, or the name of the
    `signal` that killed it; `how` says it in words."""

    slot: str
    generation: int
    pid: int
    exit_code: int | None = None
    signal: str = ""
    how: str = ""


Said = Awaitable[None] | None


@dataclass
class ResponseHead:
    """The head of an answer before it is sent: a hook may change its status and its headers.

    A `body` that a hook sets is sent instead of the application's, with its length and without a
    Content-Encoding. An answer with the status 204 or 304 has no body, whatever a hook sets.
    """

    status: int
    headers: MutableHeaders
    body: bytes | None = None


RequestHook = Callable[[Request], Said]
ResponseHook = Callable[[Request, ResponseHead], Said]
Cleaner = Callable[[], Said]


@dataclass(frozen=True)
class Hooks:
    """Functions, plain or async, that are called when something happens. What they raise is logged
    and changes nothing; each has ten seconds.

    `after_fork` runs first of all in each process that the platform makes to run code of plugins,
    before any lifespan. All of them are forked from one process that has imported the plugins: what
    must differ between them, as the state of a generator of random numbers, is made here.
    `worker_start` and `worker_stop` run in the worker itself: before it accepts anything, after it
    has drained. The others run in a process of their own, which is forked for this one call:
    `server_start` when the first generation is prepared, before any worker of it accepts, and
    `server_stop` when the last worker is gone; `before_reload` and `after_reload` around a rollout,
    which does not wait for them; `worker_exit` after the end of any worker, `worker_error` after
    one that the platform did not ask for.
    """

    server_start: Callable[[ServerInfo], Said] | None = None
    server_stop: Callable[[ServerInfo], Said] | None = None
    before_reload: Callable[[ReloadInfo], Said] | None = None
    after_reload: Callable[[ReloadInfo], Said] | None = None
    after_fork: Callable[[WorkerInfo], Said] | None = None
    worker_start: Callable[[WorkerInfo], Said] | None = None
    worker_stop: Callable[[WorkerInfo], Said] | None = None
    worker_exit: Callable[[WorkerInfo], Said] | None = None
    worker_error: Callable[[WorkerInfo], Said] | None = None

    def declared(self) -> set[str]:
        """Return the names of the hooks that are set."""
        return {f.name for f in fields(self) if getattr(self, f.name) is not None}


def info_of(hook: str, facts: dict[str, Any]) -> ServerInfo | ReloadInfo | WorkerInfo:
    """Return the argument of a hook of this name."""
    if hook.startswith("server_"):
        return ServerInfo(**facts)
    return ReloadInfo(**facts) if hook.endswith("_reload") else WorkerInfo(**facts)
