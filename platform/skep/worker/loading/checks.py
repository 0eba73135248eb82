"""What can be checked of plugins before anything of them runs."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from pydantic import ValidationError

from skep.api.cron import CronJob, FunctionCron
from skep.api.naming import plugin_of
from skep.api.plugin import Plugin
from skep.api.processes.process import Process
from skep.api.tables.table import Table
from skep.api.tasks.decorators import FunctionTask
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.task import Task
from skep.config.env.settings import Settings, current_epoch, undeclared_text
from skep.wire.plan import Problem
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.loader import PACKAGE

# What each is called, the field of Plugin that declares it, and what comes of its missing there.
_KINDS: tuple[tuple[type, str, str], ...] = (
    (Task, "tasks", "deliver() raises"),
    (Event, "events", "fire() raises"),
    (Listener, "listeners", "it is never called"),
    (CronJob, "crons", "it never runs"),
    (Settings, "settings", "current() raises"),
    (Table, "tables", "every use raises"),
    (Process, "processes", "it never runs"),
)

_CRONTAB = ("minute", "hour", "day", "month", "day_of_week")


def check_used_settings(plugins: Mapping[str, Plugin]) -> list[Problem]:
    """Return a problem for each Settings class read during the import that no plugin declares."""
    declared = {settings for plugin in plugins.values() for settings in plugin.settings}
    return [
        Problem("settings", undeclared_text(cls), plugin_of(cls.__module__))
        for cls in sorted(current_epoch().known() - declared, key=lambda cls: cls.__qualname__)
    ]


def check_settings(plugins: Mapping[str, Plugin]) -> list[Problem]:
    """Validate every Settings class; return a problem for each field that does not fit, with its
    key and never its value."""
    problems: list[Problem] = []
    for name, plugin in plugins.items():
        for settings in plugin.settings:
            problems.extend(
                Problem("settings", text, name, rule="schema") for text in _faults(settings)
            )
    return problems


def _faults(settings: type[Settings]) -> list[str]:
    try:
        settings.current()
    except ValidationError as error:
        return [
            f"{_key(settings, fault['loc'])} does not fit {settings.__name__}: {fault['msg']}."
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
    return []


def _key(settings: type[Settings], location: tuple[int | str, ...]) -> str:
    """Return the key that a fault is about; of a field with aliases, the alias."""
    name = str(location[0]) if location else ""
    field = settings.model_fields.get(name)
    return (settings.keys_of(name, field)[0] if field else name).upper()


def undeclared(catalog: Catalog) -> list[str]:
    """Return a sentence for each task, event, listener, cron and settings class that a plugin's
    module defines and no plugin declares.

    Base classes, private names, and what has no handler or time are left out: others build on them.
    """
    declared = set(_declared(catalog))
    return sorted(
        f"{name} is in no Plugin({field}=[…]): {consequence}."
        for name, thing in _defined()
        for kind, field, consequence in _KINDS
        if issubclass(_class_of(thing), kind) and thing not in declared and _is_finished(thing)
    )


def crontab_triggers(catalog: Catalog) -> list[str]:
    """Return a sentence for each cron whose trigger looks like one of `CronTrigger.from_crontab`
    and is due on other days than the cron string is."""
    return [
        f'The trigger of the cron {name} looks like CronTrigger.from_crontab("{text}"), which '
        "counts weekdays from Monday = 0 and requires both days to fit. To mean what cron means, "
        "give the cron string itself."
        for name, job in sorted(catalog.crons.items())
        if (text := _crontab_of(job.terms.trigger))
    ]


def _crontab_of(trigger: object) -> str:
    """Return the five fields of a trigger of APScheduler that has just those, if cron takes its
    days for others; "" otherwise."""
    if type(trigger).__module__ != "apscheduler.triggers.cron":
        return ""
    fields = {f.name: str(f) for f in getattr(trigger, "fields", ()) if not f.is_default}
    if fields.keys() != set(_CRONTAB):
        return ""
    _, _, day, _, weekday = values = [fields[name] for name in _CRONTAB]
    numbered = any(character.isdigit() for character in weekday)
    both = not day.startswith("*") and not weekday.startswith("*")
    return " ".join(values) if numbered or both else ""


def _declared(catalog: Catalog) -> Iterator[object]:
    yield from catalog.tasks.values()
    yield from catalog.events.values()
    for listeners in catalog.listeners.values():
        yield from listeners
    yield from catalog.tables.values()
    yield from catalog.crons.values()
    yield from map(_class_of, catalog.crons.values())
    yield from catalog.processes.values()
    for plugin in catalog.plugins.values():
        yield from plugin.settings
        for cron in plugin.crons:
            yield cron
            yield _class_of(cron)


def _defined() -> Iterator[tuple[str, Any]]:
    """Yield classes and the crons made of functions, each where it is defined."""
    for module in [m for name, m in list(sys.modules.items()) if name.startswith(f"{PACKAGE}.")]:
        for name, value in list(vars(module).items()):
            thing = value.cls if _is(value, FunctionTask) else value
            if name.startswith("_") or not _is(thing, (type, FunctionCron)):
                continue
            # A metaclass may run code of its own when a class is asked for something.
            if _module(thing) == module.__name__:
                yield f"{module.__name__}.{name}", thing


def _module(thing: Any) -> str:
    try:
        return str(getattr(thing, "__module__", ""))
    except Exception:  # noqa: BLE001 - whatever it raises
        return ""


def _is_finished(thing: Any) -> bool:
    cls = _class_of(thing)
    if issubclass(cls, Task | Listener):
        return hasattr(cls, "handle") and not cls.__subclasses__()
    if issubclass(cls, CronJob):
        return hasattr(thing, "terms") and (thing is not cls or not cls.__subclasses__())
    if issubclass(cls, Process):
        has_work = cls.run is not Process.run or bool(cls.terms.command)
        return has_work and not cls.__subclasses__()
    # A table has one subclass more, which is the class of its rows.
    return all(issubclass(below, Struct) for below in cls.__subclasses__())


def _class_of(thing: Any) -> type:
    return thing if _is(thing, type) else type(thing)


def _is(value: object, kinds: type | tuple[type, ...]) -> bool:
    # By its type: to ask a library's proxy for its class runs the library's code.
    return issubclass(type(value), kinds)
