"""Whether payloads and results come back from JSON as they were.

A value that JSON has no type for may come back as something else, silently: a subclass in a field
loses its fields, a date in an `Any` becomes a text, a secret becomes stars. Most payload classes
hold no such value, which their schema shows once; payloads of the others are read back and compared
when they are delivered. For a result, the annotation of the handler is all there is to check.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import FunctionType, NoneType, UnionType
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

_EXACT = frozenset(
    {"str", "int", "float", "bool", "none", "bytes"}
    | {"date", "time", "datetime", "timedelta", "uuid"}
)
# What a schema consists of besides the schemas of what it holds.
_CONTAINERS: Mapping[str, tuple[str, ...]] = {
    "nullable": ("schema",),
    "list": ("items_schema",),
    "set": ("items_schema",),
    "frozenset": ("items_schema",),
    "dict": ("keys_schema", "values_schema"),
}
_PAYLOADS = "skep.api.tasks.payload"
_KEYS = frozenset(("str", "int", "uuid"))
_DEFAULTS: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (float, int),
    "bool": bool,
    "nullable": type(None),
    "list": list,
    "dict": dict,
    "set": set,
}
# Types of results that JSON has, and of their keys.
_SCALARS = (str, int, float, NoneType)
_LISTS_AND_DICTS = (list, tuple, dict)
# What may be a list or a dict.
_ABSTRACT = (
    *(Any, object, abc.Sequence, abc.MutableSequence, abc.Mapping, abc.MutableMapping),
    *(abc.Iterable, abc.Collection, abc.Sized, abc.Container, abc.Reversible, abc.Hashable),
)


def payload_problem(cls: type[BaseModel]) -> str:
    """Return which field of a class can never come back, or an empty text."""
    for name, field in cls.model_fields.items():
        if field.exclude:
            return f"has a field `{name}` with exclude=True, which would not be delivered"
        if _mentions_secret(field):
            return (
                f"has a field `{name}` that holds a secret: payloads are kept on the disk as they "
                "are. Deliver where the secret is, and read it in the handler"
            )
    return ""


def _mentions_secret(field: FieldInfo) -> bool:
    def types(annotation: Any) -> Iterator[Any]:
        yield annotation
        for argument in getattr(annotation, "__args__", ()):
            yield from types(argument)

    secrets = (SecretStr, SecretBytes)
    return any(isinstance(t, type) and issubclass(t, secrets) for t in types(field.annotation))


@cache
def is_exact(cls: type[BaseModel]) -> bool:
    """Return whether every payload of this class comes back as it was, by its schema.

    False says that some may not. Models in fields are among these: an object of a subclass is
    written as one of the declared class.
    """
    schema: Any = cls.__pydantic_core_schema__
    if schema["type"] != "model" or schema.get("custom_init") or schema.get("post_init"):
        return False
    within = schema["schema"]
    if within["type"] != "model-fields" or "serialization" in schema:
        return False
    usual = _config_of(next(base for base in cls.__mro__ if base.__module__ == _PAYLOADS))
    if _config_of(cls) != usual:
        return False
    return all(_is_exact(field["schema"]) for field in within["fields"].values())


def _config_of(cls: Any) -> dict[str, Any]:
    config = cls.__pydantic_core_schema__.get("config", {})
    return {key: value for key, value in config.items() if key != "title"}


def _is_exact(schema: Mapping[str, Any]) -> bool:
    kind = schema["type"]
    if "serialization" in schema:
        return False
    match kind:
        case "default":
            return _is_exact_default(schema)
        case "tuple":
            return all(map(_is_exact, schema["items_schema"]))
        case "enum":
            # Of a value that JSON knows the member is found again.
            return all(type(member.value) in (str, int) for member in schema["members"])
        case "literal":
            return all(type(value) is str for value in schema["expected"])
        case "dict":
            keys = schema.get("keys_schema", {"type": "any"})
            values = schema.get("values_schema", {"type": "any"})
            return keys["type"] in _KEYS and _is_exact(values)
    if kind in _CONTAINERS:
        return all(_is_exact(schema.get(name, {"type": "any"})) for name in _CONTAINERS[kind])
    return kind in _EXACT


def _is_exact_default(schema: Mapping[str, Any]) -> bool:
    """A default is not checked when it is used, so only a plain one is known to fit."""
    inner, default = schema["schema"], schema.get("default")
    fits = _DEFAULTS.get(inner["type"])
    if inner["type"] == "nullable" and default is not None:
        fits = _DEFAULTS.get(inner["schema"]["type"])
    if "default" not in schema or fits is None or not isinstance(default, fits):
        return False
    return not (isinstance(default, list | dict | set) and default) and _is_exact(inner)


def difference(name: str, sent: BaseModel, body: bytes, read: Callable[[bytes], BaseModel]) -> str:
    """Return what would come back otherwise than it was sent, as a sentence, or an empty text."""
    try:
        back = read(body)
    except ValidationError as error:
        places = sorted({".".join(map(str, one["loc"])) for one in error.errors()})
        return f"{name} could not be read again from JSON: {', '.join(places) or error}."
    except Exception as error:  # noqa: BLE001 - a validator of the author's may raise anything
        return f"{name} could not be read again from JSON: {error!r}."
    found = next(_differences(sent, back, ""), None)
    if found is None:
        return ""
    place, one, other = found
    where = place.replace(" .", " ").lstrip(".")
    changed = " with other content" if type(one) is type(other) else ""
    return (
        f"{name} would not come back from JSON as it is: {where} is {_called(one)} and would be "
        f"{_called(other)}{changed}. Declare the field with the type of its values, or deliver "
        "something that JSON can carry."
    )


def _called(value: object) -> str:
    return f"a {type(value).__qualname__}"


Differences = Iterator[tuple[str, Any, Any]]


def _differences(one: Any, other: Any, place: str) -> Differences:
    """Yield where two values differ in what a payload carries, with both. NaN equals itself here,
    and what a model keeps beside its fields does not count."""
    if type(one) is not type(other):
        # A member of an enumeration that is a text as well is equal to the text.
        if not (isinstance(one, str | int | float) and one == other):
            yield place, one, other
    elif isinstance(one, BaseModel):
        names = [*type(one).model_fields, *(one.model_extra or ())]
        for name in names:
            yield from _differences(getattr(one, name), getattr(other, name), f"{place}.{name}")
    elif is_dataclass(one) and not isinstance(one, Enum):
        for field in fields(one):
            name = field.name
            yield from _differences(getattr(one, name), getattr(other, name), f"{place}.{name}")
    elif isinstance(one, list | tuple) and len(one) == len(other):
        for n, (item, back) in enumerate(zip(one, other, strict=True)):
            yield from _differences(item, back, f"{place}[{n}]")
    elif isinstance(one, dict) and len(one) == len(other):
        for (key, value), (key_back, back) in zip(one.items(), other.items(), strict=True):
            yield from _differences(key, key_back, f"a key of {place}")
            yield from _differences(value, back, f"{place}[{key!r:.40}]")
    elif not (one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))):
        yield place, one, other


def result_problem(cls: Any) -> str:
    """Return why the result of a task that keeps one, or that has a `finish`, cannot be kept, as
    far as the annotation of `handle` shows it."""
    if not (cls.keep_result or hasattr(cls, "finish")):
        return ""
    annotation = _promised(cls)
    found = _foreign(annotation)
    if found is None:
        return ""
    reason = "keep_result" if cls.keep_result else "finish"
    name = getattr(found, "__qualname__", found)
    return (
        f"has {reason}, but its handle returns {name}: a result is kept as JSON, so return None, "
        "bool, numbers, strings, lists and dicts of them"
    )


def _promised(cls: Any) -> Any:
    """Return the annotation, Any if there is none. A decorator may return something else than the
    function that it decorates."""
    handle = inspect.getattr_static(cls, "handle")
    handle = getattr(handle, "written", handle)
    if not isinstance(handle, FunctionType) or hasattr(handle, "__wrapped__"):
        return Any
    try:
        return typing.get_type_hints(handle).get("return", Any)
    except Exception:  # noqa: BLE001 - a name that exists for type checkers only
        return Any


def _foreign(annotation: Any) -> Any | None:
    """Return the type in an annotation whose values JSON does not know, if there is one."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _foreign(arguments[0])
    if origin in (typing.Union, UnionType):
        return _first(arguments)
    if origin is typing.Literal or typing.is_typeddict(annotation):
        return None
    kind = origin or annotation
    if not inspect.isclass(kind) or kind in _ABSTRACT or getattr(kind, "_is_protocol", False):
        return None
    if issubclass(kind, dict) and len(arguments) == 2:
        key, value = arguments
        return key if inspect.isclass(key) and not issubclass(key, _SCALARS) else _foreign(value)
    if issubclass(kind, _LISTS_AND_DICTS):
        return _first(argument for argument in arguments if argument is not ...)
    return None if issubclass(kind, _SCALARS) else kind


def _first(annotations: Iterable[Any]) -> Any | None:
    return next((found for a in annotations if (found := _foreign(a)) is not None), None)
