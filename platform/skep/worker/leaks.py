"""Finds out, in development, which module global or class attribute a request has changed.

State that outlives a request is seen by the next one, which may be another user's. After each
request what the plugins' modules and classes hold is compared with what they held before it.
"""

import inspect
import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

_PLUGINS = "plugins."
_DEEP = 3
# Enough to notice what a handler adds, drops or replaces; of more only the number is looked at.
_MANY = 1000
_CONTAINERS = (list, set, deque, bytearray, tuple, frozenset)

State = dict[str, tuple[str, Any]]


class LeakWatch:
    """Wraps the application; warns once of each name that a request has changed."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app
        self._before: State = {}
        self._running = 0
        self._named: set[str] = set()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._running == 0:
            self._before = observe()
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
            self._compare(scope)

    def _compare(self, scope: "Scope") -> None:
        after = observe()
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


def observe() -> State:
    """Return a description and a fingerprint of everything the plugins hold, by dotted name."""
    state: State = {}
    for module in [m for name, m in list(sys.modules.items()) if name.startswith(_PLUGINS)]:
        for owner, namespace in _namespaces(module):
            for name, value in namespace.items():
                if not (name.startswith("__") or _is_code(value)):
                    state[f"{owner}.{name}"] = _described(value), _fingerprint(value, _DEEP)
    return state


def changed(before: State, after: State) -> list[str]:
    """Return the names that are new or hold something else."""
    return [name for name, seen in after.items() if before.get(name, (None, None))[1] != seen[1]]


def _namespaces(module: ModuleType) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield module.__name__, dict(vars(module))
    for value in list(vars(module).values()):
        if inspect.isclass(value) and value.__module__ == module.__name__:
            yield f"{module.__name__}.{value.__qualname__}", dict(vars(value))


def _is_code(value: object) -> bool:
    return (
        isinstance(value, ModuleType | property | classmethod | staticmethod)
        or inspect.isclass(value)
        or inspect.isroutine(value)
        or hasattr(value, "__get__")
    )


def _fingerprint(value: object, depth: int) -> Any:
    if isinstance(value, str | bytes | int | float | bool | type(None)):
        return value
    if depth == 0:
        return id(value)
    if isinstance(value, dict):
        some = [_fingerprint(v, depth - 1) for _, v in zip(range(_MANY), value.values())]  # noqa: B905
        return id(value), len(value), tuple(map(id, list(value)[:_MANY])), tuple(some)
    if isinstance(value, _CONTAINERS):
        some = [_fingerprint(v, depth - 1) for _, v in zip(range(_MANY), value)]  # noqa: B905
        return id(value), len(value), tuple(some)
    if type(value).__module__.startswith(_PLUGINS) and hasattr(value, "__dict__"):
        return id(value), _fingerprint(vars(value), depth - 1)
    return id(value)


def _described(value: object) -> str:
    if isinstance(value, dict | list | set | deque | bytearray):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}" if value is not None else "None"


def _difference(before: tuple[str, Any] | None, after: tuple[str, Any]) -> str:
    if before is None:
        return f"it is new, {after[0]}"
    if before[0] == after[0]:
        return f"{after[0]} with other content"
    return f"{before[0]} before, {after[0]} now"
