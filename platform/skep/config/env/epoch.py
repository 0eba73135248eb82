"""One state of the environment in one process, and the settings that were read from it.

A generation begins with one epoch; a change of live settings makes the next. Whoever runs a
request, a task or a tick of a cron pins the epoch it began with, so that it never sees two.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from skep.config.options.spelling import fold, folded

if TYPE_CHECKING:
    from skep.config.env.settings import Settings

S = TypeVar("S", bound="Settings")


class Epoch:
    """One state of the environment; it never changes. Keys are found whatever their case."""

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

    def changed(self, values: Mapping[str, str | None]) -> Epoch:
        """Return the epoch that follows when these keys have these values; None is gone. The keys
        are spelled as in the environment, so this is the epoch of a process born after it."""
        environment: dict[str, str | None] = {**self._environment, **values}
        return Epoch({key: value for key, value in environment.items() if value is not None})


# Which epoch is in force in this process, and which one the request, task or tick at hand began
# with. Module state, because `Settings.current()` is called from anywhere in a plugin, and a
# process has one environment.
_in_force: Epoch | None = None
# The Settings that the plugins declare; None while they are being loaded, and without a platform.
_declared: frozenset[type[Settings]] | None = None
_pinned: ContextVar[Epoch | None] = ContextVar("skep_pinned_epoch", default=None)


def current_epoch() -> Epoch:
    """Return the epoch that is pinned here, or the one in force."""
    epoch = _pinned.get() or _in_force
    # Outside of a worker, in a plugin's own tests for instance, there is none in force.
    return epoch if epoch is not None else Epoch(os.environ)


def declare(
    classes: Iterable[type[Settings]] | None,
) -> frozenset[type[Settings]] | None:
    """Have these settings be the declared ones; return those that were before."""
    global _declared
    before, _declared = _declared, None if classes is None else frozenset(classes)
    return before


def is_undeclared(cls: type[Settings]) -> bool:
    """Return whether plugins are loaded and none of them declares these settings."""
    return _declared is not None and cls not in _declared


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
