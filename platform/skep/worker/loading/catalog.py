"""Everything the plugins of a generation declare, by registered name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from skep.api.cron import CronJob, named
from skep.api.processes.process import Process
from skep.api.tables.table import Table
from skep.api.tasks.decorators import FunctionTask
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.payload import Payload
from skep.api.tasks.task import Task
from skep.base.errors import PluginError

if TYPE_CHECKING:
    from skep.api.plugin import Plugin

C = TypeVar("C", bound=type[Payload] | type[Listener[Any]] | type[Table] | type[Process])


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
    tables: Mapping[str, type[Table]] = field(default_factory=dict)
    processes: Mapping[str, type[Process]] = field(default_factory=dict)

    @classmethod
    def collect(cls, plugins: Mapping[str, Plugin]) -> Catalog:
        """Collect what the plugins declare, the plugins in the order of their names. Raises
        PluginError when two things have the same name, or a cron cannot be made."""
        tasks: dict[str, type[Task]] = {}
        events: dict[str, type[Event]] = {}
        listeners: dict[str, type[Listener[Event]]] = {}
        crons: dict[str, CronJob] = {}
        tables: dict[str, type[Table]] = {}
        processes: dict[str, type[Process]] = {}
        following: dict[str, list[type[Listener[Event]]]] = {}
        for name, plugin in sorted(plugins.items()):
            for task in plugin.tasks:
                _put(name, tasks, task.cls if isinstance(task, FunctionTask) else task)
            for event in plugin.events:
                _put(name, events, event)
            for listener in plugin.listeners:
                # Twice in a round it would follow itself for ever.
                if listeners.get(listener.registered_name()) is listener:
                    text = (
                        f"The listener {_called(listener)} is declared by another plugin already."
                    )
                    raise PluginError(name, text)
                _put(name, listeners, listener)
                _put(name, events, listener.event)
                following.setdefault(listener.event.registered_name(), []).append(listener)
            for table in plugin.tables:
                _put(name, tables, table)
            for process in plugin.processes:
                _put(name, processes, process)
            crons.update(named(name, plugin.crons))
        rounds = {
            event: tuple(sorted(those, key=lambda listener: listener.order))
            for event, those in following.items()
        }
        return cls(plugins, tasks, events, rounds, crons, tables, processes)

    def declared(self) -> dict[str, type[Payload]]:
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
        names = [cls.registered_name() for cls in self.listeners.get(event, ())]
        return tuple(names[names.index(listener) + 1 :])


def _put(plugin: str, shelf: dict[str, C], thing: C) -> None:
    """Register a class under its name; the name may not belong to another class."""
    name = thing.registered_name()
    other = shelf.setdefault(name, thing)
    if other is not thing:
        remedy = f'name one of them otherwise, as in class {thing.__name__}(…, name="…")'
        if issubclass(thing, Process):
            remedy = "give one of the classes another name"
        raise PluginError(
            plugin, f"{_called(thing)} and {_called(other)} are both named {name}: {remedy}."
        )


def _called(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
