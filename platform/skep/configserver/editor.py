"""Changes while the server runs: one thread writes them, and waiting clients are notified."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from skep.configserver.names import Address
from skep.configserver.records import StoredRelease
from skep.configserver.store import Store
from skep.configserver.watchers import Watchers

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Editor:
    """Changes the store without blocking the event loop, and wakes the watchers of a release.

    A commit waits for the disk: less than a millisecond, tens on a slow disk, seconds on a busy
    one. So a thread writes; only one, because SQLite allows one writer, and because it keeps
    notifications in the order of their ids.
    """

    def __init__(self, store: Store, watchers: Watchers) -> None:
        self._store = store
        self._watchers = watchers
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="editor")

    async def write(self, act: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a method of the store that writes."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(act, *args, **kwargs))

    async def publish(
        self, address: Address, name: str, operator: str, comment: str = ""
    ) -> StoredRelease:
        """Publish the items and wake the waiting clients; see `Store.publish`."""
        release, notification = await self.write(
            self._store.publish, address, name, operator, comment
        )
        woken = self._watchers.wake(notification)
        _log.info("%r released %s as %s: woke %d", operator, address, release.release_key, woken)
        return release

    def close(self) -> None:
        """Finish the writes in progress and end the thread."""
        self._thread.shutdown()
