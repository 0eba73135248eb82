"""Whether the functions that a plugin hands over can be called as the platform calls them."""

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any


def call_problem(function: Any, arguments: Sequence[str]) -> str:
    """Return why this cannot be called with these arguments, or an empty text.

    A generator function is refused: a call makes a generator and runs none of its code.
    """
    if not callable(function):
        return "cannot be called"
    if problem := generator_problem(function):
        return problem
    return "" if _binds(function, len(arguments)) else _mismatch(function, arguments)


def generator_problem(function: Any) -> str:
    """Return a sentence's end about a generator function, or an empty text."""
    called = function if _is_function(function) else type(function).__call__
    if inspect.isasyncgenfunction(called) or inspect.isgeneratorfunction(called):
        return "is a generator function: a call of it runs nothing, so it must not `yield`"
    return ""


def method_problem(cls: type, name: str, arguments: Sequence[str]) -> str:
    """Return why objects of a class cannot have this method called so, or an empty text.

    Every text reads on after the name of the class.
    """
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, FunctionType):
        function, offset = found, 1
    elif isinstance(found, staticmethod | classmethod):
        function, offset = getattr(cls, name), 0
    elif hasattr(type(found), "__get__"):
        return ""  # what an unknown descriptor gives, only the call shows
    elif not callable(found):
        return f"has no method {name}"
    else:
        function, offset = found, 0
    if problem := generator_problem(function):
        return f"has a method {name} that {problem}"
    if _binds(function, len(arguments) + offset):
        return ""
    return f"has a method {name} that {_mismatch(function, arguments, offset)}"


def override_problem(cls: type, base: type) -> str:
    """Return which method of `base` a class overrides with one that cannot stand in for it."""
    for name, method in vars(base).items():
        own = inspect.getattr_static(cls, name, None)
        if name.startswith("_") or not isinstance(method, FunctionType) or own is method:
            continue
        if problem := method_problem(cls, name, list(inspect.signature(method).parameters)[1:]):
            return problem
        is_async = inspect.iscoroutinefunction(own)
        if inspect.iscoroutinefunction(method):
            if not is_async and _is_written_in(cls, name, own):
                return f"has a method {name} that is a plain `def`: it must be `async def`"
        elif is_async:
            return f"has a method {name} that is `async def`: it must be a plain `def`"
    return ""


def construction_problem(cls: type) -> str:
    """Return why no object of a class can be made without arguments, or an empty text."""
    if _binds(cls, 0):
        return ""
    return f"cannot be made without arguments: it takes {signature(cls)}"


def binds(function: Any, *args: Any, **kwargs: Any) -> bool:
    """Return whether a call with these arguments fits the signature, as far as it is known."""
    # With follow_wrapped a decorated function would show the signature of what it decorates.
    try:
        found = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return True
    try:
        found.bind(*args, **kwargs)
    except TypeError:
        return hasattr(function, "__signature__")  # which a library may set to something else
    return True


def signature(function: Any, offset: int = 0) -> str:
    """Return the names of the parameters, without the first `offset`, as a sentence shows them."""
    parameters = list(inspect.signature(function, follow_wrapped=False).parameters)
    return f"({', '.join(parameters[offset:])})"


def is_context_manager(function: Any) -> bool:
    """Return whether contextlib's `@contextmanager` made this: a call gives one for `with`, not for
    `async with`."""
    return getattr(function, "__code__", None) is _OF_CONTEXTMANAGER


def written_lifespan(lifespan: Any) -> Any:
    """Return the function that `@asynccontextmanager` decorates, or what it is if none does: what
    the decorator returns takes any arguments.

    It may be behind a method, a partial, or the `__call__` of an object.
    """
    if isinstance(lifespan, functools.partial):
        written = written_lifespan(lifespan.func)
        return functools.partial(written, *lifespan.args, **lifespan.keywords)
    if isinstance(lifespan, MethodType):
        return MethodType(written_lifespan(lifespan.__func__), lifespan.__self__)
    if isinstance(lifespan, FunctionType):
        is_made = lifespan.__code__ is _OF_ASYNCCONTEXTMANAGER
        return lifespan.__wrapped__ if is_made else lifespan  # type: ignore[attr-defined]
    called = inspect.getattr_static(type(lifespan), "__call__", None)
    if isinstance(called, FunctionType):
        return MethodType(written_lifespan(called), lifespan)
    return lifespan


def named_thing(function: Any) -> Any:
    """Return what has the name of something that is called: the function of a partial, and the
    class of an object without a name."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if hasattr(function, "__name__") else type(function)


@contextlib.contextmanager
def _sync() -> Iterator[None]:
    yield


@contextlib.asynccontextmanager
async def _async() -> AsyncIterator[None]:
    yield


# Every function that one of these decorators returns shares the code of its helper.
_OF_CONTEXTMANAGER = getattr(_sync, "__code__", None)
_OF_ASYNCCONTEXTMANAGER = getattr(_async, "__code__", None)


def _binds(function: Any, count: int) -> bool:
    return binds(function, *([None] * count))


def _is_function(function: Any) -> bool:
    return inspect.isroutine(function) or isinstance(function, functools.partial | type)


def _is_written_in(cls: type, name: str, method: Any) -> bool:
    """Return whether a method is what stands in the body of a class: what a decorator returns may
    be a plain function that returns a coroutine."""
    owners = (base.__qualname__ for base in cls.__mro__ if name in vars(base))
    return (
        isinstance(method, FunctionType)
        and not hasattr(method, "__wrapped__")
        and method.__qualname__ == f"{next(owners)}.{name}"
    )


def _mismatch(function: Callable[..., Any], arguments: Sequence[str], offset: int = 0) -> str:
    called = ", ".join(arguments)
    return f"takes {signature(function, offset)}, but it is called with ({called})"
