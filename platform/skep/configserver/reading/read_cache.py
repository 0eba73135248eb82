"""What was read from the file and is still so."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from skep.configserver.storage.database import ConfigDatabase

_T = TypeVar("_T")
# Requests for what does not exist are remembered too, so there must be an end.
_MOST = 20_000


class ReadCache:
    """Answers of the file until its next commit, by whatever process: a hit costs microseconds. It
    belongs to one thread."""

    def __init__(self, database: ConfigDatabase) -> None:
        self.database = database
        self._version = -1
        self._known: dict[Hashable, Any] = {}

    def get(self, key: Hashable, read: Callable[[], _T]) -> _T:
        """Return what `read` returned since the last commit, and call it if there is nothing. A key
        begins with the kind of what is read: names in it come from strangers."""
        version = self.database.version()
        if version != self._version or len(self._known) >= _MOST:
            self._known.clear()
            self._version = version
        if key not in self._known:
            self._known[key] = read()
        return cast("_T", self._known[key])
