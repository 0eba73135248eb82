"""Typed, frozen views of the environment for plugin authors, and the state they are read from.

A generation begins with one epoch of the environment; a change of live settings makes the next.
Code that runs a request, a task or a tick of a cron pins the epoch it began with, so that it never
sees two.
"""

import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ConfigDict, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from skep.base.errors import Undeclared
from skep.config.options.spelling import fold, folded

T = TypeVar("T")


class _LiveMark:
    """Marks a field that changes without a rollout."""


Live = Annotated[T, _LiveMark()]


class Settings(BaseModel):
    """A plugin's settings: its fields, read from the environment, validated once per generation.

    `class MailSettings(Settings, prefix="MAIL_")` with a field `host: str` reads `MAIL_HOST`. Keys
    are not case-sensitive; lists, mappings and models are written as JSON. A value that does not
    fit refuses the generation before it may serve, so a handler never sees one. `current()` gives
    the settings.

    A field declared as `delay: Live[float] = 3.0` changes without a rollout: every worker swaps its
    frozen settings for new ones, and `on_change` is called. One request, task or tick of a cron
    sees the settings it began with until it ends.

    The value of a field declared as `SecretStr`, or with `json_schema_extra={"secret": True}`, is
    never shown: not by verbs, in the history of the configuration, or in logs.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    _prefix: ClassVar[str] = ""

    def __init_subclass__(cls, prefix: str = "", **kwargs: Any) -> None:
        """Accept `prefix` in the class statement; pydantic passes it to both of these hooks."""
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, prefix: str = "", **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._prefix = prefix

    @classmethod
    def current(cls) -> Self:
        """Return the settings: the same frozen object every time, as long as nothing changes.

        Raises pydantic's ValidationError when the environment does not fit the fields, and
        Undeclared for a class that is in no Plugin: it was never checked, and would not change.
        """
        if _declared is not None and cls not in _declared:
            raise Undeclared("", undeclared_text(cls))
        return current_epoch().settings(cls)

    @classmethod
    def on_change(cls, old: Self, new: Self, changed: frozenset[str]) -> Awaitable[None] | None:
        """Override it to act when live fields have changed; `changed` are their names.

        It is called in every worker, after `current()` gives `new`. May be a coroutine function. An
        exception makes the platform replace the workers instead.
        """
        return None

    @classmethod
    def read(cls, get: Callable[[str], str | None]) -> Self:
        """Return the settings that `get` has values for. Raises ValidationError."""
        found: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            texts = (get(key) for key in cls.keys_of(name, field))
            if (text := next((t for t in texts if t is not None), None)) is not None:
                found[name] = _parsed(field.annotation, text)
        return cls.model_validate(found)

    @classmethod
    def keys_of(cls, name: str, field: FieldInfo) -> list[str]:
        """Return the keys a field is read from: its aliases, or the prefix and its name."""
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            return [choice for choice in alias.choices if isinstance(choice, str)]
        return [alias] if isinstance(alias, str) else [f"{cls._prefix}{name}"]

    @classmethod
    def environment_keys(cls) -> dict[str, bool]:
        """Return all keys, in upper case, and whether each is live."""
        return {
            key.upper(): any(isinstance(mark, _LiveMark) for mark in field.metadata)
            for name, field in cls.model_fields.items()
            for key in cls.keys_of(name, field)
        }

    @classmethod
    def secret_keys(cls) -> set[str]:
        """Return the keys, in upper case, of the fields that are declared secret: with a type such
        as SecretStr, or with `json_schema_extra={"secret": True}`."""
        return {
            key.upper()
            for name, field in cls.model_fields.items()
            if _is_marked_secret(field) or _holds_secret(field.annotation)
            for key in cls.keys_of(name, field)
        }


S = TypeVar("S", bound=Settings)


class Epoch:
    """One immutable state of the environment. Keys are found in any case."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._folded = folded(environment)
        self._settings: dict[type[Settings], Settings] = {}

    def get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        return self._folded.get(fold(key))

    def settings(self, cls: type[S]) -> S:
        """Return the settings of a class, the same object every time. Raises ValidationError."""
        made = self._settings.get(cls)
        if made is None:
            made = self._settings[cls] = cls.read(self.get)
        return made  # type: ignore[return-value]

    def known(self) -> frozenset[type[Settings]]:
        """Return the classes that have been read."""
        return frozenset(self._settings)

    def changed(self, values: Mapping[str, str | None]) -> "Epoch":
        """Return the epoch after these changes; None removes a key. The keys are spelled as in the
        environment, so a process that starts later has the same epoch."""
        environment: dict[str, str | None] = {**self._environment, **values}
        return Epoch({key: value for key, value in environment.items() if value is not None})


# The epoch in force in this process, and the one that the current request, task or tick began
# with. Module state, because plugins call `Settings.current()` from anywhere.
_in_force: Epoch | None = None
# The Settings that the plugins declare; None while they are being loaded, and without a platform.
_declared: frozenset[type[Settings]] | None = None
_pinned: ContextVar[Epoch | None] = ContextVar("skep_pinned_epoch", default=None)


def current_epoch() -> Epoch:
    """Return the epoch that is pinned here, or the one in force."""
    epoch = _pinned.get() or _in_force
    # Outside of a worker, in a plugin's own tests for instance, there is none in force.
    return epoch if epoch is not None else Epoch(os.environ)


def declare(classes: Iterable[type[Settings]] | None) -> frozenset[type[Settings]] | None:
    """Set the declared settings; return those before."""
    global _declared
    before, _declared = _declared, None if classes is None else frozenset(classes)
    return before


def enter(epoch: Epoch) -> None:
    """Make an epoch the one in force in this process."""
    global _in_force
    _in_force = epoch


def pin() -> None:
    """Keep the present epoch for this request, task or tick until its asyncio task ends."""
    _pinned.set(_in_force)


def reread(classes: Iterable[type[Settings]], epoch: Epoch) -> list[tuple[Settings, Settings]]:
    """Read the classes from an epoch; return old and new of those that differ from the epoch in
    force. Raises ValidationError."""
    before = current_epoch()
    pairs = [(before.settings(cls), epoch.settings(cls)) for cls in classes]
    return [(old, new) for old, new in pairs if old != new]


def _is_marked_secret(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("secret") is True


def _holds_secret(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Return whether a value of this type is or contains one that pydantic hides."""
    if isinstance(annotation, type) and annotation not in seen:
        if issubclass(annotation, Secret | SecretStr | SecretBytes):
            return True
        if issubclass(annotation, BaseModel):
            fields = annotation.model_fields.values()
            parts = [field.annotation for field in fields]
            is_marked = any(map(_is_marked_secret, fields))
            return is_marked or any(_holds_secret(part, seen | {annotation}) for part in parts)
    inner = (get_origin(annotation), *get_args(annotation))
    return any(_holds_secret(part, seen) for part in inner if part is not None)


def undeclared_text(cls: type[Settings]) -> str:
    """Return the error text for settings that are used and not declared."""
    return (
        f"{cls.__module__}.{cls.__qualname__} is used and in no Plugin(settings=[…]): "
        "add it to settings of its plugin, so that it is checked before anything is served."
    )


def _parsed(annotation: Any, text: str) -> Any:
    """Parse JSON where a text cannot be a value of the field. Other text stays as it is, for
    pydantic to explain."""
    if not _is_compound(annotation):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, list | dict) else text


def _is_compound(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_compound(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return any(map(_is_compound, get_args(annotation)))
    kind = origin if origin is not None else annotation
    compound = (BaseModel, Mapping, list, tuple, set, frozenset)
    return isinstance(kind, type) and (issubclass(kind, compound) or is_dataclass(kind))
