"""The zygote: loads everything once, says what it found, and forks workers on order.

It never runs a handler.
"""

import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from skep.api.tasks.policy import policy_of
from skep.base.errors import PluginError, UsageError
from skep.base.files import fingerprint, own_writes
from skep.base.logs import masking
from skep.base.logs.log import hide, traceback_text
from skep.base.rundir import RunDir
from skep.base.system.title import set_title
from skep.config.env.settings import Settings, declare
from skep.config.options.sources import project, sources
from skep.config.options.table import Options
from skep.wire.channel import BlockingChannel
from skep.wire.messages import Boot, Change, Changed, LoadFailed, Message, Planned
from skep.wire.plan import LONGEST_TRACE, Plan, Problem
from skep.worker.birth.forker import Forker
from skep.worker.http.app import listing
from skep.worker.http.app import problems as app_problems
from skep.worker.loading import endpoints
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.changes import Changes, begin_epoch
from skep.worker.loading.checks import check_settings, check_used_settings
from skep.worker.loading.environ import Environ, install
from skep.worker.loading.loader import FOLDERS, Loaded, Loader
from skep.worker.loading.project import make_importable
from skep.worker.loading.tls import Tls
from skep.worker.loading.undeclared import undeclared
from skep.worker.tasks.queues import Outliving

log = logging.getLogger(__name__)


@dataclass
class Generation:
    """What a zygote has loaded; `changes` are its settings and how they change.

    `loaded_by` is the number of the generation that loaded it first: after a rollback, a worker of
    a newer one runs it.
    """

    catalog: Catalog
    plan: Plan
    changes: Changes
    tls: Tls
    loaded_by: int


def load(boot: Boot) -> Generation | list[Problem]:
    """Load the plugins and check all that can be checked without serving.

    Whatever fails is a problem with a sentence, and not the end of the zygote without one.
    """
    try:
        return _load(boot)
    except Exception as error:  # noqa: BLE001 - declarations are objects of authors and of libraries
        text = f"What the plugins declare cannot be served: {type(error).__name__}: {error}"
        return [Problem("load", text, trace=traceback_text(error, LONGEST_TRACE))]


def _load(boot: Boot) -> Generation | list[Problem]:
    started = time.perf_counter()
    environ = install()
    begin_epoch(environ)
    options = Options.from_json(boot.options)
    folders = [Path(folder) for folder in options.plugins]
    states, noted = _look(boot, options)  # before: what changes meanwhile is a newer state
    environ[FOLDERS] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    loaded = Loader(folders).load()
    code = fingerprint.digest(states, without=own_writes.read(noted))
    classes = [cls for plugin in loaded.plugins.values() for cls in plugin.settings]
    secrets = _declare_secrets(classes, environ)
    problems = _problems(loaded, options)
    if problems:
        return problems
    try:
        catalog = Catalog.collect(loaded.plugins)
        tls = Tls.load(catalog.plugins, options)
    except (PluginError, UsageError) as error:
        return [Problem("load", str(error), getattr(error, "plugin", ""))]
    declare(classes)
    live, fixed = _keys(classes)
    unforkable = "PLATFORM_START_METHOD is spawn" if options.start_method == "spawn" else ""
    plan = Plan(
        kinds=_kinds(catalog),
        plugins=tuple(catalog.plugins),
        routes=tuple(listing(loaded.plugins)),
        tasks=tuple(catalog.tasks),
        listeners=tuple(_listeners(catalog)),
        crons=tuple(catalog.crons),
        hooks=tuple(sorted({h for p in catalog.plugins.values() for h in p.hooks.declared()})),
        endpoints=tuple(endpoints.endpoints(loaded.plugins)),
        certificates=dict(tls.files),
        live=tuple(sorted(live)),
        fixed=tuple(sorted(fixed)),
        secrets=secrets,
        task_drain=_task_drain(catalog, options),
        code=code,
        warnings=tuple(undeclared(catalog)),
        unforkable=unforkable or loaded.unforkable,
        seconds=round(time.perf_counter() - started, 3),
    )
    if boot.kind == "zygote" and boot.generation > 0:  # `platform check` shows them itself
        for warning in plan.warnings:
            log.warning(warning)
    return Generation(catalog, plan, Changes(classes, environ), tls, boot.generation)


def _problems(loaded: Loaded, options: Options) -> list[Problem]:
    return [
        *map(replace, loaded.problems),  # made again, to be masked by what is known only now
        *app_problems(loaded.plugins, options),
        *endpoints.problems(loaded.plugins, options),
        *check_used_settings(loaded.plugins),
        *check_settings(loaded.plugins),
    ]


def _look(boot: Boot, options: Options) -> tuple[fingerprint.States, Path]:
    """Look at the code that is about to be loaded, make what of it is the project's importable, and
    if it is watched have noted what this process writes there; return where that is noted."""
    code = sources(options)
    noted = RunDir(options.data_dir).own_writes(boot.run_id)
    if folder := project(options):
        make_importable(folder, fresh=options.watch)
    if options.watch and boot.run_id:
        own_writes.note([*code.folders, *([code.project] if code.project else [])], noted)
    return code.states(), noted


def _declare_secrets(classes: Iterable[type[Settings]], environ: Environ) -> tuple[str, ...]:
    """Have what the classes declare secret masked in this process and its children; return it."""
    secrets = {key for cls in classes for key in cls.secret_keys()}
    masking.declare(secrets)
    hide(environ.snapshot())
    return tuple(sorted(secrets))


class Zygote(Forker):
    """Forks workers, and understudies of itself, out of what it has loaded."""

    def __init__(self, channel: BlockingChannel, generation: Generation) -> None:
        super().__init__(channel)
        self._plan = generation.plan
        self._changes = generation.changes

    @classmethod
    def answer(cls, channel: BlockingChannel, found: Generation | list[Problem]) -> None:
        """Send the plan; with problems instead there is nothing more to do in this process."""
        if isinstance(found, Generation):
            channel.send(Planned(found.plan))
            return
        channel.send(LoadFailed(found, masking.declared()))
        sys.exit(0)

    def take(self, order: Message) -> None:
        """Do what is ordered, if it is no fork."""
        if isinstance(order, Change):
            self._change(order)

    def alone(self) -> Mapping[str, str] | None:
        """Return in what environment children have to be started afresh, if they have to."""
        return self._changes.environment() if self._plan.unforkable else None

    def _change(self, change: Change) -> None:
        """Take other values for the workers that are still to be forked. No callback of a plugin is
        called: nothing runs here."""
        objection = self._changes.objection(change.values)
        if change.apply and not objection:
            self._changes.take(change.values)
        self._channel.send(Changed(change.number, change.apply, objection))


def _kinds(catalog: Catalog) -> tuple[str, ...]:
    kinds = ["web"]
    if catalog.tasks or catalog.listeners:
        kinds.append("task")
    if catalog.crons:
        kinds.append("cron")
    return tuple(kinds)


def _task_drain(catalog: Catalog, options: Options) -> float:
    listeners = (listener for those in catalog.listeners.values() for listener in those)
    policies = (policy_of(cls) for cls in (*catalog.tasks.values(), *listeners))
    return Outliving(options).longest(policies)


def _keys(classes: Iterable[type[Settings]]) -> tuple[set[str], set[str]]:
    """The keys that are live in every class that reads them, and the others."""
    live: set[str] = set()
    fixed: set[str] = set()
    for cls in classes:
        for key, is_live in cls.environment_keys().items():
            (live if is_live else fixed).add(key)
    return live - fixed, fixed


def _listeners(catalog: Catalog) -> list[str]:
    return [
        f"{event} → {listener.__name__}"
        for event, listeners in catalog.listeners.items()
        for listener in listeners
    ]


def name_zygote(boot: Boot, *, understudy: bool) -> None:
    """Tell `ps` who this is."""
    set_title(f"zygote@{boot.generation}", boot.options["app_id"] + " (understudy)" * understudy)
