"""The crons of a generation as PLATFORM_CRONS wants them.

The configuration only chooses among what the modules of the loaded plugins define: nothing is
imported for it.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skep.api.cron import CronJob, CronTerms, FunctionCron, cron, seconds
from skep.api.plugin import Plugin
from skep.base.errors import PluginError, UsageError
from skep.config.options.crons import KEY, CronChoice, parse
from skep.config.options.table import Options
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.loader import PACKAGE


def with_configured_crons(catalog: Catalog, options: Options) -> Catalog:
    """Return the catalog with the crons that are to run: those that the plugins declare, with what
    the configuration adds, times or leaves out.

    Raises UsageError with a sentence for each entry that is not possible, naming the key, the class
    and the value.
    """
    found = dict(catalog.crons)
    problems: list[str] = []
    chosen: set[str] = set()
    for choice in parse(options.crons):
        try:
            name, job = _find(choice, catalog.crons, catalog.plugins)
            if name in chosen:
                raise ValueError("it stands there twice.")
            chosen.add(name)
            if choice.enabled:
                job.terms = _terms(job, name, choice)
                found[name] = job
            else:
                found.pop(name, None)
        except (PluginError, ValueError) as error:
            problems.append(f"{KEY}, {choice.cls!r}: {error}")
    if problems:
        raise UsageError("\n".join(problems))
    return replace(catalog, crons=found)


def _find(
    choice: CronChoice, crons: Mapping[str, CronJob], plugins: Mapping[str, Plugin]
) -> tuple[str, CronJob]:
    """Return the registered name of the chosen cron, and the cron."""
    if choice.cls in crons:
        return choice.cls, crons[choice.cls]
    plugin, _, path = choice.cls.removeprefix(f"{PACKAGE}.").partition(".")
    thing = _defined(plugin, path) if plugin in plugins else None
    for name, job in crons.items():  # declared, perhaps under another name
        if thing is not None and (job is thing or type(job) is thing):
            return name, job
    if isinstance(thing, type):
        job = _made(thing)
    elif thing is not None:
        job = thing
    else:
        known = ", ".join(crons) or "none is registered"
        raise ValueError(
            f"no module of a loaded plugin defines such a cron. Registered: {known}; others are "
            "named by their class, as in pulse.Sweep or pulse.jobs.Sweep."
        )
    return f"{plugin}.{job.name or type(job).__name__}", job


def _defined(plugin: str, path: str) -> Any:
    """Return the cron that a module of a plugin defines at this path, None if there is none."""
    *folders, name = path.split(".")
    module = sys.modules.get(".".join((PACKAGE, plugin, *folders)))
    thing = vars(module).get(name) if module is not None else None
    own = getattr(thing, "__module__", "") == getattr(module, "__name__", None)
    if not own or thing in (CronJob, FunctionCron):
        return None
    is_class = isinstance(thing, type) and issubclass(thing, CronJob)
    return thing if is_class or isinstance(thing, CronJob) else None


def _made(cls: type[CronJob]) -> CronJob:
    try:
        return cls()
    except Exception as error:
        raise ValueError(f"it cannot be made: {error!r}.") from error


def _terms(job: CronJob, name: str, choice: CronChoice) -> CronTerms:
    """Return the terms of a cron with what the choice says. Raises PluginError or ValueError."""
    terms: CronTerms | None = getattr(job, "terms", None)
    if choice.tz is not None and choice.schedule is None:
        raise ValueError(f"tz is {choice.tz!r} without a schedule.")
    if choice.schedule is not None:
        terms = _timed(job, name, choice.schedule, choice.tz)
    if terms is None:
        raise ValueError('it has no time of its own: give it a schedule, as in "10s".')
    return terms if choice.immediate is None else replace(terms, immediate=choice.immediate)


def _timed(job: CronJob, name: str, schedule: str, tz: str | None) -> CronTerms:
    try:
        seconds(schedule)
        times: dict[str, Any] = {"every": schedule}
    except ValueError:
        times = {"cron": schedule, "tz": tz}
        tz = None
    if tz is not None:
        raise ValueError(f"tz is {tz!r}, but {schedule!r} is an interval.")
    old: CronTerms | None = getattr(job, "terms", None)
    if old is None:  # a class without a time is checked as one with a time is
        own = {"every": None, "cron": None, "tz": None, **times, "__module__": type(job).__module__}
        timed: type[CronJob] = type(type(job).__name__, (type(job),), own)
        return timed.terms
    text = times.pop("cron", None)
    new = cron(text, **times, name=name)(job.handler).terms
    return replace(
        old,
        every=new.every,
        trigger=new.trigger,
        grace=new.grace if old.grace == _usual_grace(old) else old.grace,
    )


def _usual_grace(terms: CronTerms) -> float:
    return 60.0 if terms.every is None else max(1.0, terms.every)
