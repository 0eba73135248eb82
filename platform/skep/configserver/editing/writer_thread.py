"""The one thread that writes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class WriterThread:
    """Runs writes one after the other, apart from the event loop.

    A commit waits for the disk: less than a millisecond, tens on a slow disk, seconds on a busy
    one. One thread is enough, because SQLite allows one writer, and it keeps notifications in the
    order of their ids.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="editor")

    async def run(self, act: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a write and return what it returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(act, *args, **kwargs))

    def close(self) -> None:
        """Finish the writes in progress and end the thread."""
        self._thread.shutdown()
