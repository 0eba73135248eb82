"""Custom processes: what can be checked when all of them are known, and their part of the plan."""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter

from skep.api.naming import plugin_of
from skep.api.processes.process import Process
from skep.base.commands.command import executable
from skep.base.errors import CommandError
from skep.config.options.table import Options
from skep.wire.plan import Problem, ProcessPlan
from skep.worker.loading.catalog import Catalog


def plans(catalog: Catalog) -> tuple[ProcessPlan, ...]:
    """Return what the supervisor has to know of each class of processes."""
    shared = {field.name for field in fields(ProcessPlan)} - {"name", "command"}
    return tuple(
        ProcessPlan(
            name=name,
            command=bool(process.terms.command),
            **{option: getattr(process.terms, option) for option in shared},
        )
        for name, process in catalog.processes.items()
    )


def problems(catalog: Catalog, options: Options) -> list[Problem]:
    """Return why the processes cannot run: an unknown or circular `after`, and on a machine that
    runs them a program or user that is not there."""
    found = [
        (process, text)
        for process in catalog.processes.values()
        for text in _problems(process, catalog.processes, options)
    ]
    return [
        *(
            Problem("load", f"{_called(process)} {text}.", plugin_of(process.__module__))
            for process, text in found
        ),
        *_circles(catalog.processes),
    ]


def _problems(
    process: type[Process], known: Mapping[str, type[Process]], options: Options
) -> Iterator[str]:
    for name in process.terms.after:
        if name not in known:
            names = ", ".join(sorted(known))
            yield f"has after = {name!r}, which no plugin declares; there are {names}"
    if process.terms.command and process.terms.enable and "process" in options.kinds:
        yield from filter(None, (_program_problem(process), _user_problem(process)))


def _circles(known: Mapping[str, type[Process]]) -> Iterator[Problem]:
    try:
        TopologicalSorter({name: process.terms.after for name, process in known.items()}).prepare()
    except CycleError as error:
        circle = error.args[1]
        text = f"Each of these processes has the next one in its `after`: {' → '.join(circle)}."
        yield Problem("load", text, plugin_of(known[circle[0]].__module__))


def _program_problem(process: type[Process]) -> str:
    terms = process.terms
    try:
        executable(terms.command, {**os.environ, **terms.environment})
    except CommandError as error:
        return f"has command = {list(terms.command)!r:.200}: {str(error).removesuffix('.')}"
    return ""


def _user_problem(process: type[Process]) -> str:
    user = process.terms.user
    if not user:
        return ""
    with suppress(KeyError):
        wanted = pwd.getpwnam(user)
        if os.geteuid() in (0, wanted.pw_uid):
            return ""
        return f"has user = {user!r}, which only a platform that runs as root can become"
    return f"has user = {user!r}, and there is no such user on this machine"


def _called(process: type[Process]) -> str:
    return f"The class {process.__module__}.{process.__qualname__}"
