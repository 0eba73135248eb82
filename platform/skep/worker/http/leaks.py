"""Find, in development, which module global or class attribute a request has changed.

State that outlives a request is visible to the next one, which may be another user's. After each
request, what the plugins' modules and classes hold is compared with what they held before it.

Some objects run code when they are looked at: Flask's `request` and Django's lazy objects raise
outside of a request, or load something. So the watch asks an object's type and never the object
(`isinstance` and `hasattr` ask the object too), and what still fails is reported once and left out.
A diagnosis never fails a request.
"""

import itertools
import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

_PLUGINS = "plugins."
_DEEP = 3
# Enough to notice what a handler adds, drops or replaces; of more only the number is looked at.
_MANY = 1000
_CONTAINERS = (list, set, deque, bytearray, tuple, frozenset)
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
_CODE = (
    *(type, ModuleType, FunctionType, BuiltinFunctionType, MethodType),
    *(property, classmethod, staticmethod),
)

State = dict[str, tuple[str, Any]]
T = TypeVar("T")


class LeakWatch:
    """Wraps the application; warns once of each name that a request has changed."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app
        self._before: State = {}
        self._running = 0
        self._named: set[str] = set()
        self._unseen: set[str] = set()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._running == 0:
            self._before = self._observe()
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
            self._compare(scope)

    def _observe(self) -> State:
        state, failures = observe()
        for name, error in failures.items():
            if name not in self._unseen:
                self._unseen.add(name)
                log.warning("%s cannot be watched for changes: %s", name, error)
        return state

    def _compare(self, scope: "Scope") -> None:
        after = self._observe()
        for name in changed(self._before, after):
            if name not in self._named:
                self._named.add(name)
                log.warning(
                    "%s was changed by %s %s%s (%s): the next request in this worker sees it",
                    name,
                    scope["method"],
                    scope["path"],
                    " or one beside it" if self._running else "",
                    _difference(self._before.get(name), after[name]),
                )
        self._before = after


def observe() -> tuple[State, dict[str, str]]:
    """Return a description and a fingerprint of everything the plugins hold, by dotted name, and
    the reasons where that failed."""
    state: State = {}
    failures: dict[str, str] = {}
    for module_name in [name for name in list(sys.modules) if name.startswith(_PLUGINS)]:
        try:
            namespaces = list(_namespaces(sys.modules[module_name]))
        except Exception as error:  # noqa: BLE001 - whatever a plugin's object raises
            failures[module_name] = _reason(error)
            continue
        for owner, namespace in namespaces:
            for name, value in namespace.items():
                if name.startswith("__"):
                    continue
                try:
                    if not _is_code(value):
                        state[f"{owner}.{name}"] = _described(value), _fingerprint(value, _DEEP)
                except Exception as error:  # noqa: BLE001 - the same
                    failures[f"{owner}.{name}"] = _reason(error)
    return state, failures


def changed(before: State, after: State) -> list[str]:
    """Return the names that are new or hold something else."""
    return [name for name, seen in after.items() if before.get(name, (None, None))[1] != seen[1]]


def _namespaces(module: ModuleType) -> Iterator[tuple[str, Mapping[str, Any]]]:
    names = vars(module).copy()
    yield module.__name__, names
    for value in names.values():
        if not _is(value, type):
            continue
        attributes = dict(type.__getattribute__(value, "__dict__"))
        if attributes.get("__module__") == module.__name__:
            name = type.__getattribute__(value, "__qualname__")
            yield f"{module.__name__}.{name}", attributes


def _is(value: object, kinds: type | tuple[type, ...]) -> bool:
    """Return what `isinstance` does for the type alone: a proxy's `__class__` runs its code."""
    return issubclass(type(value), kinds)


def _is_code(value: object) -> bool:
    return _is(value, _CODE) or hasattr(type(value), "__get__")


def _fingerprint(value: Any, depth: int) -> Any:
    if type(value) in _PLAIN:
        # NaN is not equal to itself, and 1 is equal to True.
        return type(value), repr(value) if type(value) is float else value
    if depth == 0:
        return id(value)
    if _is(value, dict):
        items = dict.items(value)
        some = [(id(k), _fingerprint(v, depth - 1)) for k, v in _first(items)]
        return id(value), len(items), tuple(some)
    for kind in _CONTAINERS:
        if _is(value, kind):
            some = [_fingerprint(v, depth - 1) for v in _first(kind.__iter__(value))]
            return id(value), kind.__len__(value), tuple(some)
    if type(value).__module__.startswith(_PLUGINS) and "__dict__" in dir(type(value)):
        return id(value), _fingerprint(object.__getattribute__(value, "__dict__"), depth - 1)
    return id(value)


def _first(values: Iterable[T]) -> list[T]:
    return list(itertools.islice(values, _MANY))


def _described(value: Any) -> str:
    if value is None:
        return "None"
    name = f"a {type(value).__name__}"
    for kind in (dict, list, set, deque, bytearray):
        if _is(value, kind):
            return f"{name} of {kind.__len__(value)}"
    return name


def _reason(error: Exception) -> str:
    """Return a reason without the error itself, which may be unfit to show."""
    return f"looking at it raised {type(error).__name__}"


def _difference(before: tuple[str, Any] | None, after: tuple[str, Any]) -> str:
    if before is None:
        return f"it is new, {after[0]}"
    if before[0] == after[0]:
        return f"{after[0]} with other content"
    return f"{before[0]} before, {after[0]} now"
