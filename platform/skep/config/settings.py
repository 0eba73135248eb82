"""Typed, frozen views of the environment for plugin authors.

An *epoch* is one state of the environment, and the settings read from it. A generation begins with
one; a change of `Live` fields makes the next. Whoever runs a request, a task or a cron pins the
epoch it began with, so that it never sees two.
"""

import os
from collections.abc import Awaitable, Iterable, Mapping
from contextvars import ContextVar
from typing import Annotated, Any, Self, TypeVar

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

T = TypeVar("T")
S = TypeVar("S", bound="Settings")


class _LiveMark:
    """Marks a field that changes without a rollout."""


Live = Annotated[T, _LiveMark()]


class Settings(BaseSettings):
    """A plugin's settings: its fields, read from the environment, validated once per generation.

    `class MailSettings(Settings, prefix="MAIL_")` with a field `host: str` reads `MAIL_HOST`. Keys
    are not case-sensitive. A value that does not fit refuses the generation before it may serve, so
    a handler never sees one. `current()` gives the settings.

    A field declared as `delay: Live[float] = 3.0` changes without a rollout: every worker swaps its
    frozen settings for new ones, and `on_change` is called. One request, task or tick of a cron
    sees the settings it began with until it ends.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_file=None, populate_by_name=True
    )

    def __init_subclass__(cls, prefix: str = "", **kwargs: Any) -> None:
        """Accept `prefix` in the class statement; pydantic hands it to both of these hooks."""
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, prefix: str = "", **kwargs: Any) -> None:
        """Take the prefix of the environment's keys from the class statement."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.model_config["env_prefix"] = prefix

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the epoch alone: files were resolved into the environment by the supervisor."""
        return init_settings, _FromEpoch(settings_cls)

    @classmethod
    def current(cls) -> Self:
        """Return the settings of the epoch: the same frozen object every time.

        Raises pydantic's ValidationError when the environment does not fit the fields.
        """
        return current_epoch().settings(cls)

    @classmethod
    def on_change(cls, old: Self, new: Self, changed: frozenset[str]) -> Awaitable[None] | None:
        """Override it to act when live fields have changed; `changed` are their names.

        It is called in every worker, after `current()` gives `new`. May be a coroutine function. An
        exception makes the platform replace the workers instead.
        """
        return None

    @classmethod
    def environment_keys(cls) -> dict[str, bool]:
        """Return the keys of the environment that the fields are read from, in upper case, and
        whether each is live."""
        found: dict[str, bool] = {}
        for name, field in cls.model_fields.items():
            live = any(isinstance(mark, _LiveMark) for mark in field.metadata)
            for key in keys_of(cls, name, field):
                found[key.upper()] = live
        return found


class Epoch:
    """One state of the environment and the settings that were read from it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Of `Greeting` and `GREETING` the latter counts.
        items = sorted(environment.items(), key=lambda item: item[0].isupper())
        self._environment = {key.upper(): value for key, value in items}
        self._settings: dict[type[Settings], Settings] = {}

    def get(self, key: str) -> str | None:
        """Return the value of a key, whatever its case, or None."""
        return self._environment.get(key.upper())

    def settings(self, cls: type[S]) -> S:
        """Return the settings of a class. Raises ValidationError when they do not fit."""
        made = self._settings.get(cls)
        if made is None:
            token = _reading.set(self)
            try:
                made = self._settings[cls] = cls()
            finally:
                _reading.reset(token)
        return made  # type: ignore[return-value]

    def changed(self, values: Mapping[str, str | None]) -> "Epoch":
        """Return the epoch that follows when these keys have these values; None is gone."""
        environment = {**self._environment}
        for key, value in values.items():
            if value is None:
                environment.pop(key.upper(), None)
            else:
                environment[key.upper()] = value
        return Epoch(environment)


# Which epoch is being read into settings; which one is in force in this process; and which one the
# request, task or tick at hand began with. Module state, because `current()` is called from
# anywhere in a plugin, and a process has one environment.
_reading: ContextVar[Epoch | None] = ContextVar("skep_reading", default=None)
_pinned: ContextVar[Epoch | None] = ContextVar("skep_pinned", default=None)
_in_force: Epoch | None = None


def current_epoch() -> Epoch:
    """Return the epoch that is pinned here, or the one in force."""
    pinned = _pinned.get()
    if pinned is not None:
        return pinned
    # Outside of a worker, in a plugin's own tests for instance, there is none in force.
    return _in_force if _in_force is not None else Epoch(os.environ)


def enter(epoch: Epoch) -> None:
    """Put an epoch in force in this process."""
    global _in_force
    _in_force = epoch


def pin() -> None:
    """Let this request, task or tick see the present epoch until it ends.

    Call it in an asyncio task of its own: the pin ends with the task's context.
    """
    _pinned.set(_in_force)


def reread(classes: Iterable[type[Settings]], epoch: Epoch) -> list[tuple[Settings, Settings]]:
    """Read the classes from an epoch; return old and new for those that differ from the one in
    force. Raises ValidationError when one does not fit."""
    before = current_epoch()
    pairs = [(before.settings(cls), epoch.settings(cls)) for cls in classes]
    return [(old, new) for old, new in pairs if old != new]


class _FromEpoch(PydanticBaseSettingsSource):
    """Reads the fields of one class from the epoch."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        epoch = _reading.get() or current_epoch()
        for key in keys_of(self.settings_cls, field_name, field):
            if (value := epoch.get(key)) is not None:
                return value, field_name, self.field_is_complex(field)
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, into, is_complex = self.get_field_value(field, name)
            try:
                value = self.prepare_field_value(name, field, value, is_complex)
            except ValueError as error:
                # Without the text: it may be a secret.
                key = keys_of(self.settings_cls, name, field)[0].upper()
                raise SettingsError(f"{key} is no JSON") from error
            if value is not None:
                found[into] = value
        return found


def keys_of(cls: type[BaseSettings], name: str, field: FieldInfo) -> list[str]:
    """Return the keys a field is read from: its aliases as they are, or the prefix and its name."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    if isinstance(alias, str):
        return [alias]
    return [f"{cls.model_config.get('env_prefix', '')}{name}"]
