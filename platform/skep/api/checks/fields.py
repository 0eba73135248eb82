"""What each field of `Plugin` takes: one table, and the check that goes through it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from skep.api.callables import call_problem
from skep.api.checks import requirements as required
from skep.api.cron import CronJob
from skep.api.hooks import Hooks
from skep.api.processes.process import Process
from skep.api.processes.process import problem_of as process_problem
from skep.api.sockets.listeners import HttpListener, TcpListener, UdpListener
from skep.api.tables.table import Table
from skep.api.tables.table import problem_of as table_problem
from skep.api.tasks.decorators import FunctionTask
from skep.api.tasks.event import Listener
from skep.api.tasks.task import Task
from skep.config.env.settings import Settings


@dataclass(frozen=True)
class Field:
    """What a field takes, in words and as a test, and what is wrong with a value that fits.

    `many` says that the field is a list of such values. The text of `problem` reads on after the
    name of the value.
    """

    takes: str
    fits: Callable[[Any], bool]
    problem: Callable[[Any], str]
    many: bool = True


def _object_of(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_callable_or_none(value: object) -> bool:
    return value is None or callable(value)


def _called_with(*arguments: str) -> Callable[[Any], str]:
    return lambda function: call_problem(function, arguments)


FIELDS: Mapping[str, Field] = {
    "routes": Field(
        "Starlette routes: Route, WebSocketRoute, Mount or Host objects",
        _object_of(BaseRoute),
        required.route_problem,
    ),
    "mounts": Field(
        "a dict of ASGI applications by path prefix, like {'/api': app}",
        _object_of(Mapping),
        required.mounts_problem,
        many=False,
    ),
    "middleware": Field(
        "Starlette's Middleware(Class, …)", _object_of(Middleware), required.middleware_problem
    ),
    "global_middleware": Field(
        "Starlette's Middleware(Class, …)", _object_of(Middleware), required.middleware_problem
    ),
    "request_received": Field("functions of (request)", callable, _called_with("request")),
    "response_generated": Field(
        "functions of (request, head)", callable, _called_with("request", "head")
    ),
    "cleaners": Field("functions without arguments", callable, _called_with()),
    "tasks": Field(
        "subclasses of Task, or functions decorated with @task(…)",
        lambda value: isinstance(value, FunctionTask) or required.is_subclass(value, Task),
        required.task_problem,
    ),
    "events": Field("subclasses of Event", required.is_event, required.event_problem),
    "listeners": Field(
        "subclasses of Listener[ThatEvent], or functions decorated with @on(ThatEvent)",
        lambda value: required.is_subclass(value, Listener),
        required.listener_problem,
    ),
    "crons": Field(
        "functions decorated with @cron(…), or subclasses of CronJob or their objects",
        lambda value: isinstance(value, CronJob) or required.is_subclass(value, CronJob),
        required.cron_problem,
    ),
    "sockets": Field(
        "TcpListener, UdpListener and HttpListener objects",
        _object_of(TcpListener, UdpListener, HttpListener),
        required.socket_problem,
    ),
    "tables": Field(
        "subclasses of Table",
        lambda value: required.is_subclass(value, Table) and value is not Table,
        table_problem,
    ),
    "processes": Field(
        "subclasses of Process",
        lambda value: required.is_subclass(value, Process) and value is not Process,
        process_problem,
    ),
    "settings": Field(
        "subclasses of skep's Settings",
        lambda value: required.is_subclass(value, Settings) and value is not Settings,
        required.settings_problem,
    ),
    "lifespan": Field(
        "a function of () or (app) decorated with @asynccontextmanager, or None",
        _is_callable_or_none,
        required.lifespan_problem,
        many=False,
    ),
    "ready": Field(
        "a function without arguments that returns a text, or None",
        _is_callable_or_none,
        lambda ready: "" if ready is None else call_problem(ready, ()),
        many=False,
    ),
    "hooks": Field(
        "Hooks(server_start=…, …)", _object_of(Hooks), required.hooks_problem, many=False
    ),
}


def faults(plugin: object) -> tuple[str, ...]:
    """Return one sentence for each value that a field of the plugin does not take.

    A sentence names the field, the value and what the field takes. It shows an object by its class
    alone: one of Settings holds secrets.
    """
    found: list[str] = []
    for name, field in FIELDS.items():
        given = getattr(plugin, name)
        if field.many:
            found.extend(_faults_of_list(name, field, given))
        elif fault := _fault(name, f"it takes {field.takes}", field, given):
            found.append(fault)
    return tuple(found)


def _faults_of_list(name: str, field: Field, given: object) -> Iterator[str]:
    takes = f"{name} takes a list of {field.takes}"
    # By its type: a library's proxy runs the library's code when it is asked for its class.
    kind = type(given)
    if not issubclass(kind, Sequence) or issubclass(kind, str | bytes | bytearray):
        yield f"{name} is {shown(given)}; {takes}."
        return
    values = list(given)  # type: ignore[call-overload]
    for place, value in enumerate(values):
        called = f"{name}[{place}]"
        if fault := _fault(called, takes, field, value):
            yield fault
        elif any(value is other for other in values[:place]):
            yield f"{called}, {shown(value)}, is in the list twice."


def _fault(called: str, takes: str, field: Field, value: object) -> str:
    try:
        if not field.fits(value):
            return f"{called} is {shown(value)}; {takes}."
        problem = field.problem(value)
    except Exception as error:  # noqa: BLE001 - an object may raise anything when it is looked at
        raised = type(error).__name__
        return f"{called}, {shown(value)}, raised {raised} when it was looked at; {takes}."
    return f"{called}, {shown(value)}, {problem}." if problem else ""


def shown(value: Any) -> str:
    """Return how a sentence names a value, whatever the value itself raises."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str, bytes):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:60]}…"
    if issubclass(kind, type):
        return f"the class {value.__module__}.{value.__qualname__}"
    with contextlib.suppress(Exception):
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if type(name) is str:
            return f"the function {getattr(value, '__module__', '')}.{name}"
    if kind in (list, tuple, set, frozenset, dict):
        return f"a {kind.__name__} of {len(value)}"
    return f"an object of the class {kind.__module__}.{kind.__qualname__}"


def explanation(error: BaseException) -> str:
    """Return a better sentence for an error of Python or pydantic about a declaration.

    The text is empty for any other error.
    """
    if getattr(error, "code", "") == "model-field-missing-annotation":
        return _untyped_attribute(str(error))
    if isinstance(error, TypeError) and str(error).startswith(
        "Plugin.__init__() got an unexpected"
    ):
        return _unknown_field(str(error).split("'")[1])
    return ""


def _untyped_attribute(text: str) -> str:
    # pydantic refuses the `retries = 3` of a task: it takes the name for a field without a type.
    given = text.partition("`")[2].partition("`")[0]
    near = difflib.get_close_matches(
        given.partition(" =")[0], sorted(required.known_attributes(Task)), 1, 0.8
    )
    if not near:
        return ""
    return (
        f"`{given}` in the body of a class is neither an attribute that tasks and events have nor "
        f"a field, which would need a type. Did you mean `{near[0]}`?"
    )


def _unknown_field(name: str) -> str:
    near = difflib.get_close_matches(name, FIELDS, 1, 0.6)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"Plugin has no field `{name}`; its fields are {', '.join(FIELDS)}.{hint}"
