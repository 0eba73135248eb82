"""Whether the result that a handler's annotation promises is one that JSON knows."""

import inspect
from collections import abc
from types import FunctionType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from skep.api.tasks.task import Task

_SCALARS = (str, int, float, NoneType)
_CONTAINERS = (list, tuple, dict)
_KEYS = (str, int, float, NoneType)
# What may be a list or a dict.
_ABSTRACT = (
    *(Any, object, abc.Sequence, abc.MutableSequence, abc.Mapping, abc.MutableMapping),
    *(abc.Iterable, abc.Collection, abc.Sized, abc.Container, abc.Reversible, abc.Hashable),
)


def result_problem(cls: type[Task]) -> str:
    """Return why the result of a task that keeps one, or that has a `finish`, cannot be kept, as
    far as the annotation of `handle` shows it."""
    if not (cls.keep_result or hasattr(cls, "finish")):
        return ""
    annotation = _promised(cls)
    found = _stranger(annotation)
    if found is None:
        return ""
    reason = "keep_result" if cls.keep_result else "finish"
    name = getattr(found, "__qualname__", found)
    return (
        f"has {reason}, but its handle returns {name}: a result is kept as JSON, so return None, "
        "bool, numbers, strings, lists and dicts of them"
    )


def _promised(cls: type[Task]) -> Any:
    """Return the annotation, Any if there is none. A decorator may return something else than the
    function that it decorates."""
    handle = inspect.getattr_static(cls, "handle")
    handle = getattr(handle, "written", handle)
    if not isinstance(handle, FunctionType) or hasattr(handle, "__wrapped__"):
        return Any
    try:
        return get_type_hints(handle).get("return", Any)
    except Exception:  # noqa: BLE001 - a name that exists for type checkers only
        return Any


def _stranger(annotation: Any) -> Any | None:
    """Return the type in an annotation whose values JSON does not know, if there is one."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _stranger(arguments[0])
    if origin in (Union, UnionType):
        return _first(arguments)
    if origin is Literal or is_typeddict(annotation):
        return None
    kind = origin or annotation
    if not inspect.isclass(kind) or kind in _ABSTRACT or getattr(kind, "_is_protocol", False):
        return None
    if issubclass(kind, dict) and len(arguments) == 2:
        key, value = arguments
        return key if inspect.isclass(key) and not issubclass(key, _KEYS) else _stranger(value)
    if issubclass(kind, _CONTAINERS):
        return _first(argument for argument in arguments if argument is not ...)
    return None if issubclass(kind, _SCALARS) else kind


def _first(annotations: abc.Iterable[Any]) -> Any | None:
    return next((found for a in annotations if (found := _stranger(a)) is not None), None)
