"""What the platform requires of each kind of thing that a plugin declares.

`…_problem` returns why one cannot work, as a text that reads on after its name, or an empty text.
"""

import difflib
import functools
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from types import CodeType, FunctionType
from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute

from skep.api.callables import (
    binds,
    call_problem,
    construction_problem,
    generator_problem,
    is_context_manager,
    method_problem,
    override_problem,
    signature,
    written_lifespan,
)
from skep.api.cron import CronJob, FunctionCron
from skep.api.hooks import Hooks
from skep.api.sockets.handlers import TcpHandler, UdpHandler
from skep.api.sockets.listeners import TcpListener, UdpListener
from skep.api.sockets.websocket import WebSocketHandler
from skep.api.tasks.decorators import FunctionTask
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.payload import A_PRIORITY, Payload, is_priority, is_text
from skep.api.tasks.policy import A_DURATION, count_problem, is_duration, policy_problem
from skep.api.tasks.serialization import payload_problem, result_problem
from skep.api.tasks.task import Task, keys_problem
from skep.config.env.settings import Settings

_ASGI = ("scope", "receive", "send")


# -- what serves HTTP ------------------------------------------------------------------------------


def route_problem(route: Any) -> str:
    if isinstance(route, Mount | Host):
        # Another framework's application may call something else `routes`.
        routes = route.routes if isinstance(route.routes, list | tuple) else ()
        return next(filter(None, map(route_problem, routes)), "") or _asgi_problem(route.app)
    # What a subclass of another framework calls its endpoint with is that framework's affair.
    if type(route) is Route:
        return _endpoint_problem(route.endpoint, "request", WebSocketHandler, "a WebSocketRoute")
    if type(route) is WebSocketRoute:
        return _endpoint_problem(route.endpoint, "websocket", HTTPEndpoint, "a Route")
    return ""


def _endpoint_problem(endpoint: Any, argument: str, stranger: type, place: str) -> str:
    inner = endpoint
    while isinstance(inner, functools.partial):
        inner = inner.func
    called = getattr(inner, "__name__", type(inner).__name__)
    if inspect.isfunction(inner) or inspect.ismethod(inner):
        problem = call_problem(endpoint, (argument,))
    elif isinstance(endpoint, type) and issubclass(endpoint, stranger):
        problem = f"belongs in {place}"
    elif isinstance(endpoint, type) and issubclass(endpoint, WebSocketHandler):
        problem = override_problem(endpoint, WebSocketHandler)
    else:
        problem = _asgi_problem(endpoint)
    return f"has an endpoint {called} that {problem}" if problem else ""


def _asgi_problem(app: Any) -> str:
    if isinstance(app, type):
        if hasattr(app, "__await__"):
            return ""
        return f"is the class {app.__qualname__}, and not an ASGI application: give an object of it"
    if not callable(app):
        return f"is {app!r:.60}, and not an ASGI application"
    return call_problem(app, _ASGI)


def mounts_problem(mounts: Mapping[Any, Any]) -> str:
    for path, app in mounts.items():
        if not isinstance(path, str) or (path and not path.startswith("/")):
            return f"has the key {path!r}, and a path prefix begins with a slash"
        if problem := _asgi_problem(app):
            return f"has an application at {path!r} that {problem}"
    return ""


def middleware_problem(value: Middleware) -> str:
    cls: Any = value.cls
    called = getattr(cls, "__name__", repr(cls))
    if not callable(cls):
        return f"has {called}, which cannot be called"
    if binds(cls, None, *value.args, **value.kwargs):
        return ""
    given = ["app", *map(repr, value.args), *(f"{name}=…" for name in value.kwargs)]
    return f"makes {called}({', '.join(given)}), which does not take these arguments"


# -- work ------------------------------------------------------------------------------------------


def task_problem(value: Any) -> str:
    cls = value.cls if isinstance(value, FunctionTask) else value
    return (
        method_problem(cls, "handle", ("ctx",))
        or _follower_problem(cls, "finish", "result")
        or _follower_problem(cls, "failed", "error")
        or _name_problem(cls)
        or policy_problem(cls)
        or _queue_problem(cls)
        or keys_problem(cls)
        or payload_problem(cls)
        or result_problem(cls)
        or _misspelt(cls, Task, set(cls.model_fields))
    )


def _follower_problem(cls: type, name: str, argument: str) -> str:
    return method_problem(cls, name, (argument, "ctx")) if hasattr(cls, name) else ""


def is_event(value: object) -> bool:
    """Return whether this is a class of events."""
    return is_subclass(value, Event) and value is not Event


def event_problem(cls: type[Event]) -> str:
    if not isinstance(cls.fanout, bool):
        return f"has fanout = {cls.fanout!r}, which must be True or False"
    return (
        _queue_problem(cls) or payload_problem(cls) or _misspelt(cls, Event, set(cls.model_fields))
    )


def _name_problem(cls: Any) -> str:
    name = cls.registered_name()
    return "" if isinstance(name, str) else f"has the name {name!r}, which must be a text"


def _queue_problem(cls: type[Payload]) -> str:
    if not (is_text(cls.queue) and cls.queue):
        return f"has queue = {cls.queue!r}, which must be the name of a queue"
    if not is_priority(cls.priority):
        return f"has priority = {cls.priority!r}, which must be {A_PRIORITY}"
    return ""


def listener_problem(cls: type[Listener[Any]]) -> str:
    return (
        method_problem(cls, "handle", ("event", "ctx"))
        or _name_problem(cls)
        or policy_problem(cls)
        or _listening_problem(cls)
        or construction_problem(cls)
        or _misspelt(cls, Listener)
    )


def _listening_problem(cls: type[Listener[Any]]) -> str:
    is_number = isinstance(cls.order, int | float) and not isinstance(cls.order, bool)
    if not is_number or math.isnan(cls.order):
        return f"has order = {cls.order!r}, which must be a number"
    if not hasattr(cls, "event"):
        return f"does not say which event it listens to: write {cls.__name__}(Listener[ThatEvent])"
    if not is_event(cls.event):
        return f"listens to {cls.event!r}, which is not a subclass of Event"
    if problem := event_problem(cls.event):
        return f"listens to {cls.event.__module__}.{cls.event.__qualname__}, which {problem}"
    return ""


def cron_problem(value: Any) -> str:
    cls: type[CronJob] = value if isinstance(value, type) else type(value)
    if isinstance(value, FunctionCron):
        return call_problem(value.handler, ("tick",))
    if value is cls and (problem := construction_problem(cls)):
        return problem
    if not hasattr(value, "terms"):
        return "says no time: give it every, cron or trigger"
    if cls.run is CronJob.run and cls.handler is CronJob.handler:
        return "has no method run"
    return method_problem(cls, "run", ("tick",)) or _misspelt(cls, CronJob)


# -- listeners, settings, and the rest -------------------------------------------------------------


def socket_problem(listener: Any) -> str:
    for name in ("host", "unix", "name", "tls_cert", "tls_key"):
        if not isinstance(value := getattr(listener, name, ""), str):
            return f"has {name} = {value!r}, which must be a text"
    match listener:
        case TcpListener():
            return _handler_problem(listener.handler, TcpHandler) or _tcp_problem(listener)
        case UdpListener():
            return _handler_problem(listener.handler, UdpHandler) or count_problem(
                "concurrency", listener.concurrency
            )
        case _:
            return _app_problem(listener.app)


def _handler_problem(handler: Any, base: type) -> str:
    if not is_subclass(handler, base):
        return f"has handler = {handler!r:.80}, which must be a subclass of {base.__name__}"
    problem = construction_problem(handler) or override_problem(handler, base)
    return f"has a handler {handler.__qualname__} that {problem}" if problem else ""


def _tcp_problem(listener: TcpListener) -> str:
    framing: Any = listener.framing
    if isinstance(framing, type) or not all(hasattr(framing, n) for n in ("read", "wrap", "limit")):
        return f"has framing = {framing!r:.80}, which must be an object like Lines()"
    for name in ("first_byte", "idle"):
        value = getattr(listener, name)
        if value is not None and not is_duration(value):
            return f"has {name} = {value!r}, which must be {A_DURATION}, or None for no limit"
    return count_problem("connections", listener.connections)


def _app_problem(app: Any) -> str:
    if callable(app):
        return _asgi_problem(app)
    if not isinstance(app, list | tuple) or not all(isinstance(one, BaseRoute) for one in app):
        return f"has app = {app!r:.80}, which must be an ASGI application or a list of routes"
    return next(filter(None, map(route_problem, app)), "")


def settings_problem(cls: type[Settings]) -> str:
    return method_problem(cls, "on_change", ("old", "new", "changed"))


def lifespan_problem(lifespan: Any) -> str:
    """Return why a call gives no async context manager, as far as that shows before it."""
    if lifespan is None:
        return ""
    if not isinstance(lifespan, type) and hasattr(lifespan, "__aenter__"):
        return "is a context manager already: give the function that makes it, without a call"
    if problem := generator_problem(lifespan):
        return f"{problem} by itself: decorate it with @asynccontextmanager"
    if is_context_manager(lifespan):
        return "is decorated with @contextmanager: use @asynccontextmanager and `async def`"
    if inspect.iscoroutinefunction(lifespan):
        return "is a coroutine function: decorate it with @asynccontextmanager and let it `yield`"
    if isinstance(lifespan, type) and not hasattr(lifespan, "__aenter__"):
        return "has no __aenter__ and __aexit__: its objects are not async context managers"
    made = written_lifespan(lifespan)
    if binds(made) or binds(made, None):
        return ""
    return f"takes {signature(made)}, but it is called with () or (app)"


def hooks_problem(hooks: Hooks) -> str:
    for field in fields(hooks):
        function = getattr(hooks, field.name)
        if function is not None and (problem := call_problem(function, ("info",))):
            called = getattr(function, "__qualname__", repr(function))
            return f"has {field.name} = {called}, which {problem}"
    return ""


# -- what all have in common -----------------------------------------------------------------------


def is_subclass(value: object, base: type) -> bool:
    """Return whether this is the class `base` or one below it."""
    # Listener[Event], a parametrized class, is not a class but may pass for one.
    return inspect.isclass(value) and issubclass(value, base)


def _misspelt(cls: type, base: type, own: Iterable[str] = ()) -> str:
    known = known_attributes(base)
    for name, value in vars(cls).items():
        if name.startswith("_") or name in known or name in own or hasattr(base, name):
            continue
        near = difflib.get_close_matches(name, sorted(known), 1, 0.8)
        if near and _is_alike(value, getattr(base, near[0], None)) and not _reads(cls, name):
            return f"has {name} = {value!r:.60}, which nothing reads: did you mean `{near[0]}`"
    return ""


def _reads(cls: type, name: str) -> bool:
    """Return whether a function in the body of a class, or of its author's bases, has this name."""
    bodies = [vars(base) for base in cls.__mro__ if not base.__module__.startswith("skep.")]
    codes = [function.__code__ for body in bodies for function in _functions(body)]
    for code in codes:
        if name in code.co_names:
            return True
        codes.extend(inner for inner in code.co_consts if isinstance(inner, CodeType))
    return False


def _functions(body: Mapping[str, Any]) -> Iterator[FunctionType]:
    for value in body.values():
        if issubclass(type(value), staticmethod | classmethod):
            value = value.__func__
        elif issubclass(type(value), property):
            value = value.fget
        while issubclass(type(value), FunctionType):
            yield value
            value = getattr(value, "__wrapped__", None)


def known_attributes(base: type) -> set[str]:
    """Return the names of the attributes that the platform reads of a class."""
    names = {name for cls in base.__mro__ for name in vars(cls).get("__annotations__", {})}
    return {name for name in names if not name.startswith(("_", "model_"))}


def _is_alike(value: object, default: object) -> bool:
    if default is None:
        return isinstance(value, int | float | str)
    numbers = (int, float)
    return type(value) is type(default) or all(isinstance(v, numbers) for v in (value, default))
