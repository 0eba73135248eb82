"""The one visible declaration of a plugin; nothing registers itself on import."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skep.api.checks.fields import faults
from skep.api.hooks import Hooks
from skep.api.naming import plugin_of
from skep.base.errors import DeclarationError

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from skep.api.cron import CronJob
    from skep.api.hooks import Cleaner, RequestHook, ResponseHook
    from skep.api.processes.process import Process
    from skep.api.sockets.listeners import SocketListener
    from skep.api.tables.table import Table
    from skep.api.tasks.decorators import FunctionTask
    from skep.api.tasks.event import Event, Listener
    from skep.api.tasks.task import Task
    from skep.config.env.settings import Settings


@dataclass(frozen=True)
class Plugin:
    """What a plugin gives to the platform; the module binds it to the name `plugin`.

    `routes` are Starlette routes, served by every web worker in one router with those of the other
    plugins. `mounts` are whole ASGI applications by path prefix; their lifespans run in every web
    worker. `middleware` is Starlette's, around all that this plugin serves over HTTP;
    `global_middleware` is around all that the platform serves, the first plugin's outermost.

    `request_received(request)` is called before every HTTP request and WebSocket handshake of the
    platform is routed, and may change path, query, headers and the rest of `request.scope`;
    `response_generated(request, head)` before an answer is sent, whose status, headers and body it
    may change. `cleaners` are called without arguments when a request is over, also after an
    exception. All of these may be coroutine functions; plugins take turns in the order of their
    names.

    `tasks`, `events`, `listeners` and `crons` are classes (or what the decorators of this package
    return); listeners of one event run by their `order`, and in the order in which they are
    declared, plugins being ordered by name. `settings` are validated before the generation may
    serve.

    `tables` are classes whose rows all processes share. `processes` are classes of processes that
    the platform keeps running.

    `lifespan` is entered once in every worker before it accepts anything and left after it has
    drained; an exception in it refuses the generation. It takes no argument, or as in Starlette the
    application, whose `state` handlers find in `request.app.state`; a mapping that it yields is in
    every `request.state`. `ready` is asked once a second in every web worker and returns why the
    plugin cannot be asked just now, or an empty text: `/readyz` says so, and a new generation that
    is not ready is rolled back. `hooks` are called at starts, reloads, stops and the ends of
    workers.

    Raises DeclarationError if a field has a value that it does not take.
    """

    routes: Sequence[BaseRoute] = ()
    mounts: Mapping[str, ASGIApp] = field(default_factory=dict)
    middleware: Sequence[Middleware] = ()
    global_middleware: Sequence[Middleware] = ()
    request_received: Sequence[RequestHook] = ()
    response_generated: Sequence[ResponseHook] = ()
    cleaners: Sequence[Cleaner] = ()
    tasks: Sequence[type[Task] | FunctionTask[...]] = ()
    events: Sequence[type[Event]] = ()
    listeners: Sequence[type[Listener[Event]]] = ()
    crons: Sequence[CronJob | type[CronJob]] = ()
    sockets: Sequence[SocketListener] = ()
    tables: Sequence[type[Table]] = ()
    processes: Sequence[type[Process]] = ()
    settings: Sequence[type[Settings]] = ()
    lifespan: Callable[..., AbstractAsyncContextManager[Any]] | None = None
    ready: Callable[[], Awaitable[str] | str] | None = None
    hooks: Hooks = field(default_factory=Hooks)

    def __post_init__(self) -> None:
        """Check every field, where its author has written it."""
        if found := faults(self):
            # The frames below are this function, `__init__`, and the module that makes a plugin.
            module = sys._getframe(2).f_globals.get("__name__", "")
            raise DeclarationError(plugin_of(module), found)
