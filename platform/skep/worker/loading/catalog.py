"""Everything the plugins of a generation declare, by registered name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from skep.api.cron import CronJob, named
from skep.api.tasks.decorators import FunctionTask
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.payload import Payload
from skep.api.tasks.task import Task
from skep.base.errors import PluginError

if TYPE_CHECKING:
    from skep.api.plugin import Plugin

C = TypeVar("C", bound=type[Payload] | type[Listener[Any]])


@dataclass(frozen=True)
class Catalog:
    """The plugins, and what they declare together.

    Names are `plugin.Thing` (`orders.SendReceipt`): the same in the log, in metrics and in the
    engine. `listeners` maps an event's name to its listeners in the order in which they run.
    """

    plugins: Mapping[str, Plugin] = field(default_factory=dict)
    tasks: Mapping[str, type[Task]] = field(default_factory=dict)
    events: Mapping[str, type[Event]] = field(default_factory=dict)
    listeners: Mapping[str, tuple[type[Listener[Event]], ...]] = field(default_factory=dict)
    crons: Mapping[str, CronJob] = field(default_factory=dict)

    @classmethod
    def collect(cls, plugins: Mapping[str, Plugin]) -> Catalog:
        """Collect what the plugins declare, the plugins in the order of their names.

        Raises PluginError when two things have the same name, or a cron cannot be made.
        """
        shelf = _Shelf()
        for name, plugin in sorted(plugins.items()):
            shelf.add(name, plugin)
        listeners = {
            event: tuple(sorted(those, key=lambda listener: listener.order))
            for event, those in shelf.listeners.items()
        }
        return cls(plugins, shelf.tasks, shelf.events, listeners, shelf.crons)

    def declared(self) -> dict[str, type[Payload]]:
        """Return every task and event by its name."""
        return {**self.tasks, **self.events}

    def listener_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of every event's listeners, in the order in which they run."""
        return {
            event: tuple(listener.registered_name() for listener in listeners)
            for event, listeners in self.listeners.items()
        }

    def handler(self, name: str, listener: str = "") -> type[Task] | type[Listener[Event]] | None:
        """Return the task of this name, or the listener of the event of this name, if any."""
        if not listener:
            return self.tasks.get(name)
        these = self.listeners.get(name, ())
        return next((cls for cls in these if cls.registered_name() == listener), None)

    def following(self, event: str, listener: str) -> tuple[str, ...]:
        """Return the names of the listeners that run after this one."""
        names = [cls.registered_name() for cls in self.listeners.get(event, ())]
        return tuple(names[names.index(listener) + 1 :])


class _Shelf:
    """What was collected up to now."""

    def __init__(self) -> None:
        self.tasks: dict[str, type[Task]] = {}
        self.events: dict[str, type[Event]] = {}
        self.listeners: dict[str, list[type[Listener[Event]]]] = {}
        self.crons: dict[str, CronJob] = {}
        self._listener_names: dict[str, type[Listener[Event]]] = {}

    def add(self, plugin: str, declared: Plugin) -> None:
        for task in map(_task_class, declared.tasks):
            _put(plugin, self.tasks, task)
        for event in declared.events:
            _put(plugin, self.events, event)
        for listener in declared.listeners:
            self._add_listener(plugin, listener)
        self.crons.update(named(plugin, declared.crons))

    def _add_listener(self, plugin: str, listener: type[Listener[Event]]) -> None:
        # Twice in a round it would follow itself for ever.
        if self._listener_names.get(listener.registered_name()) is listener:
            text = f"The listener {_called(listener)} is declared by another plugin already."
            raise PluginError(plugin, text)
        _put(plugin, self._listener_names, listener)
        _put(plugin, self.events, listener.event)
        self.listeners.setdefault(listener.event.registered_name(), []).append(listener)


def _task_class(declared: type[Task] | FunctionTask[...]) -> type[Task]:
    return declared.cls if isinstance(declared, FunctionTask) else declared


def _put(plugin: str, shelf: dict[str, C], thing: C) -> None:
    """Put a class under its name, where it may be already, but no other."""
    name = thing.registered_name()
    other = shelf.setdefault(name, thing)
    if other is not thing:
        raise PluginError(
            plugin,
            f"{_called(thing)} and {_called(other)} are both named {name}: "
            f'name one of them otherwise, as in class {thing.__name__}(…, name="…").',
        )


def _called(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
