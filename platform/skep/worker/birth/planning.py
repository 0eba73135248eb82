"""The plan: what the supervisor has to know of what the plugins declare."""

from collections.abc import Iterable

from skep.config.env.settings import Settings
from skep.config.options.table import Options
from skep.wire.plan import Plan
from skep.worker.http.app import listing
from skep.worker.loading import endpoints, processes
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.checks import crontab_triggers, undeclared
from skep.worker.loading.endpoints import Tls
from skep.worker.loading.loader import Loader
from skep.worker.tasks.queues import task_drain


def made_of(loaded: Loader, catalog: Catalog, tls: Tls, options: Options) -> Plan:
    """Return the plan of what was loaded, without what only its loading shows."""
    classes = [cls for plugin in loaded.plugins.values() for cls in plugin.settings]
    live, fixed = _keys(classes)
    unforkable = "PLATFORM_START_METHOD is spawn" if options.start_method == "spawn" else ""
    return Plan(
        kinds=_kinds(catalog),
        plugins=tuple(catalog.plugins),
        routes=tuple(listing(loaded.plugins)),
        tasks=tuple(catalog.tasks),
        listeners=tuple(_listeners(catalog)),
        crons=tuple(catalog.crons),
        tables=tuple(catalog.tables),
        processes=processes.plans(catalog),
        hooks=tuple(sorted({h for p in catalog.plugins.values() for h in p.hooks.declared()})),
        endpoints=tuple(endpoints.endpoints(loaded.plugins)),
        certificates=dict(tls.files),
        live=tuple(sorted(live)),
        fixed=tuple(sorted(fixed)),
        task_drain=task_drain(catalog, options),
        warnings=(*undeclared(catalog), *crontab_triggers(catalog)),
        unforkable=unforkable or loaded.unforkable,
    )


def _kinds(catalog: Catalog) -> tuple[str, ...]:
    kinds = ["web"]
    in_tasks = any(job.runs_in_task for job in catalog.crons.values())
    if catalog.tasks or catalog.listeners or in_tasks:
        kinds.append("task")
    if catalog.crons:
        kinds.append("cron")
    if any(process.terms.enable for process in catalog.processes.values()):
        kinds.append("process")
    return tuple(kinds)


def _keys(classes: Iterable[type[Settings]]) -> tuple[set[str], set[str]]:
    """Return the keys that are live in every class that reads them, and the others."""
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
