"""Which instance has asked for which release, until it is written to the file."""

import logging
import sqlite3
import time

from skep.configserver.model.instances import Asker, InstanceConfig
from skep.configserver.model.names import fold
from skep.configserver.model.rights import system_actor
from skep.configserver.reading.published import ClientConfig
from skep.configserver.storage import instances
from skep.configserver.storage.database import ConfigDatabase

_log = logging.getLogger(__name__)
_MOST = 10_000
_WIDEST = 64
_WRITER = system_actor("configserver")


class InstanceBook:
    """Notes what instances are given. `note` belongs in the event loop, `flush` in a writer's
    thread. A note that finds the book full is dropped: the client asks again."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database
        self._seen: dict[tuple[str, ...], InstanceConfig] = {}

    def note(self, asker: Asker, config: ClientConfig) -> None:
        """Note that a client runs these releases from now on."""
        who = (asker.app_id, asker.cluster, asker.data_center, asker.ip)
        if max(map(len, who)) > _WIDEST:
            return
        now = time.time_ns() // 1_000_000
        for one in config.chosen:
            at = one.namespace
            key = (*map(fold, who), fold(at.app_id), fold(at.namespace))
            if key in self._seen or len(self._seen) < _MOST:
                release_key = one.release.release_key
                self._seen[key] = InstanceConfig(0, *who, at, release_key, now, now)

    def flush(self) -> None:
        """Write the notes to the file; they are lost if that fails."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            with self._database.changing(_WRITER) as change:
                instances.save(change, seen.values())
        except sqlite3.Error as error:
            _log.warning("what %d instances run could not be written: %s", len(seen), error)
