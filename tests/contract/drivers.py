"""What the conformance suite needs of a driver beyond the contract: its server, started and killed.

Another driver is another class here, and another entry in `DRIVERS`.
"""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from skep.engine.base import Engine
from skep.engine.embedded import Embedded
from tests.process.store_child import StoreChild, start_python


class Driver(Protocol):
    """A running server, for which clients can be made."""

    def client(self, owner: str, deadline: float = 10.0) -> Engine:
        """Return an engine that is not open yet."""

    def holder(self, owner: str) -> subprocess.Popen[bytes]:
        """Start a process that leases one delivery and holds it."""

    def kill(self) -> None:
        """Kill the server as hard as it can be killed."""

    def start(self, run_id: str = "run-1") -> None:
        """Start it again, in the same run of the platform or another."""


class EmbeddedDriver:
    """A store process on a socket that outlives it."""

    def __init__(self, store: StoreChild) -> None:
        self._store = store

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Driver]:
        with StoreChild(directory) as store:
            yield cls(store)

    def client(self, owner: str, deadline: float = 10.0) -> Engine:
        return Embedded(self._store.path, owner, deadline=deadline)

    def holder(self, owner: str) -> subprocess.Popen[bytes]:
        return start_python("-m", "tests.contract.holder", str(self._store.path), owner)

    def kill(self) -> None:
        self._store.kill()

    def start(self, run_id: str = "run-1") -> None:
        self._store.run_id = run_id
        self._store.start()


DRIVERS = [EmbeddedDriver]


@asynccontextmanager
async def opened(driver: Driver, owner: str = "task.0@1:1") -> AsyncIterator[Engine]:
    """An open engine, closed at the end of the block."""
    engine = driver.client(owner)
    await engine.open()
    await engine.stats()  # so that the server is up before a test looks at the clock
    try:
        yield engine
    finally:
        await engine.close()
