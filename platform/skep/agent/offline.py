"""A start that asks no config server: what was applied last is offered, and that is all."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from skep.agent.config_sync import Candidate, ConfigState
from skep.config.snapshots.start_source import Reserve

log = logging.getLogger(__name__)


async def start_offline(
    reserve: Reserve,
    where: tuple[str, str, Sequence[str]],
    offer: Callable[[Candidate], Awaitable[None]],
    report: Callable[[ConfigState], None],
) -> None:
    """Offer the best that there is without a server; `where` is app id, cluster and namespaces.

    Raises ConfigError if nothing can be read or kept.
    """
    stock = reserve.find()
    if stock is None:
        return
    app_id, cluster, namespaces = where
    log.warning("No config server is asked; the config comes from: %s.", stock.source)
    path = reserve.archive.stage(stock.snapshot)
    await offer(Candidate(stock.snapshot, path, stock.source, "start"))
    keys = stock.snapshot.release_keys()
    state = ConfigState("", app_id, cluster, tuple(namespaces), stock.source, keys)
    report(state)
