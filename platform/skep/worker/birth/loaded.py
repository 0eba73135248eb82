"""What a zygote has loaded: the plugins of one state of the code, checked as far as that is
possible without serving."""

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from skep.base.errors import PluginError, UsageError
from skep.base.logs import masking
from skep.base.logs.log import hide, traceback_text
from skep.config.env.settings import Epoch, Settings, declare, enter
from skep.config.options.table import Options
from skep.wire.messages import Boot
from skep.wire.plan import LONGEST_TRACE, Plan, Problem
from skep.worker.birth.planning import made_of
from skep.worker.http.app import problems as app_problems
from skep.worker.loading import endpoints, processes
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.changes import Changes
from skep.worker.loading.checks import check_settings, check_used_settings
from skep.worker.loading.configured_crons import with_configured_crons
from skep.worker.loading.early_use import refuse_while_loading
from skep.worker.loading.endpoints import Tls
from skep.worker.loading.environ import Environ, install
from skep.worker.loading.loader import FOLDERS, CodeState, Loader
from skep.worker.tracing import problems as tracing_problems

log = logging.getLogger(__name__)


@dataclass
class LoadedGeneration:
    """What a zygote has loaded. `loaded_by` is the generation that loaded it first; after a
    rollback a worker of a newer one runs it."""

    catalog: Catalog
    plan: Plan
    changes: Changes
    tls: Tls
    loaded_by: int


def load(boot: Boot) -> LoadedGeneration | list[Problem]:
    """Load the plugins and check what can be checked without serving. Every failure is a problem
    with a sentence; none ends the zygote without one."""
    try:
        return _load(boot)
    except Exception as error:  # noqa: BLE001 - declarations are objects of authors and of libraries
        text = f"What the plugins declare cannot be served: {type(error).__name__}: {error}"
        return [Problem("load", text, trace=traceback_text(error, LONGEST_TRACE))]


def _load(boot: Boot) -> LoadedGeneration | list[Problem]:
    started = time.perf_counter()
    environ = install()
    enter(Epoch(environ.snapshot()))
    options = Options.from_json(boot.options)
    folders = [Path(folder) for folder in options.plugins]
    code = CodeState.take(options, boot.run_id)  # before: a later change is a newer state
    environ[FOLDERS] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    refuse_while_loading()
    loaded = Loader(folders).load()
    digest = code.digest()
    classes = [cls for plugin in loaded.plugins.values() for cls in plugin.settings]
    secrets = _declare_secrets(classes, environ)
    problems = _problems(loaded, options)
    if problems:
        return problems
    try:
        catalog = with_configured_crons(Catalog.collect(loaded.plugins), options)
        tls = Tls.load(catalog.plugins, options)
    except (PluginError, UsageError) as error:
        return [Problem("load", str(error), getattr(error, "plugin", ""))]
    if problems := processes.problems(catalog, options):
        return problems
    declare(classes)
    plan = made_of(loaded, catalog, tls, options)
    plan = replace(
        plan, secrets=secrets, code=digest, seconds=round(time.perf_counter() - started, 3)
    )
    if boot.kind == "zygote" and boot.generation > 0:  # `platform check` shows them itself
        for warning in plan.warnings:
            log.warning(warning)
    return LoadedGeneration(catalog, plan, Changes(classes, environ), tls, boot.generation)


def _problems(loaded: Loader, options: Options) -> list[Problem]:
    return [
        *map(replace, loaded.problems),  # made again, to be masked by what is known only now
        *app_problems(loaded.plugins, options),
        *endpoints.problems(loaded.plugins, options),
        *check_used_settings(loaded.plugins),
        *check_settings(loaded.plugins),
        *tracing_problems(options),
    ]


def _declare_secrets(classes: Iterable[type[Settings]], environ: Environ) -> tuple[str, ...]:
    """Mask the keys that the classes declare secret, here and in children; return them."""
    secrets = {key for cls in classes for key in cls.secret_keys()}
    masking.declare(secrets)
    hide(environ.snapshot())
    return tuple(sorted(secrets))
