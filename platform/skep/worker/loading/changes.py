"""Apply a change of live settings without a new process."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from skep.base.logs.log import excerpt, hide
from skep.config.env.settings import Settings, current_epoch, enter, reread
from skep.wire.messages import Change
from skep.worker.calling import completed
from skep.worker.loading.environ import Environ

log = logging.getLogger(__name__)

_LONGEST_OBJECTION = 1000
# A callback of a plugin that takes longer would delay the report that the change is applied.
_PATIENCE = 2.0


class Changes:
    """The settings of one process and how they change."""

    def __init__(self, classes: Iterable[type[Settings]], environ: Environ) -> None:
        self._classes = tuple(classes)
        self._environ = environ
        self._declared = {key for cls in self._classes for key in cls.environment_keys()}

    def objection(self, values: Mapping[str, str | None]) -> str:
        """Return why these values cannot be applied here, or nothing.

        The supervisor knows which fields are live. This checks that the values fit, and that no
        code has read a key that no field declares.
        """
        for key in values:
            if key.upper() not in self._declared and self._environ.was_read(key):
                return f"{key} has been read already, by code of a plugin or a library."
        try:
            reread(self._classes, current_epoch().changed(values))
        except ValidationError as error:
            return f"The new values do not fit {error.title}."
        return ""

    def environment(self) -> dict[str, str]:
        """Return the current environment, without marking it as read."""
        return self._environ.snapshot()

    def take(self, values: Mapping[str, str | None]) -> list[tuple[Settings, Settings]]:
        """Apply the values; return old and new of the settings that differ."""
        epoch = current_epoch().changed(values)
        pairs = reread(self._classes, epoch)
        self._environ.change(values)
        hide(self._environ.snapshot())
        enter(epoch)
        return pairs

    async def answer(self, change: Change) -> str:
        """Apply a change in a worker, if it says so; return an objection, or nothing."""
        objection = self.objection(change.values)
        if not change.apply or objection:
            return objection
        try:
            await _notify(self.take(change.values))
        except Exception as error:
            log.exception("a plugin could not take the change of %s", ", ".join(change.values))
            return excerpt(f"on_change raised {type(error).__name__}: {error}", _LONGEST_OBJECTION)
        return ""


async def _notify(pairs: Iterable[tuple[Settings, Settings]]) -> None:
    for old, new in pairs:
        names = frozenset(
            name for name in type(new).model_fields if getattr(old, name) != getattr(new, name)
        )
        async with asyncio.timeout(_PATIENCE):
            await completed(type(new).on_change(old, new, names))
