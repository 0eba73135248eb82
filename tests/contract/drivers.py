"""What the conformance suite needs of a driver beyond the contract: its server, started and killed.

Another driver is another class here, and another entry in `DRIVERS`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from skep.engine.contract import Engine, Envelope, Lease, Outcome
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from skep.store.file.schema import Durability
from skep.testing.inline_engine import Inline, InlineConnection, MemoryStore
from tests.process.store_child import StoreChild, start_python
from tests.support import wait_until_async


class Driver(Protocol):
    """Something that clients can be made for."""

    def client(self, owner: str, deadline: float = 10.0) -> Engine:
        """Return an engine that is not open yet."""

    def holder(self, owner: str) -> AbstractContextManager["Holder"]:
        """Start a process that leases one delivery and holds it."""


class Server(Driver, Protocol):
    """A running server, for which clients can be made."""

    def kill(self) -> None:
        """Kill the server as hard as it can be killed."""

    def start(self, run_id: str = "run-1") -> None:
        """Start it again, in the same run of the platform or another."""


class Holder(Protocol):
    """Who holds a delivery."""

    def kill(self) -> None:
        """Kill it as hard as it can be killed."""


class EmbeddedDriver:
    """A store process on a socket that outlives it."""

    durability: Durability = "full"

    def __init__(self, store: StoreChild) -> None:
        self._store = store

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Server]:
        with StoreChild(directory, durability=cls.durability) as store:
            yield cls(store)

    def client(self, owner: str, deadline: float = 10.0) -> Engine:
        return Embedded(self._store.path, owner, deadline=deadline)

    @contextmanager
    def holder(self, owner: str) -> Iterator[Holder]:
        with start_python("-m", "tests.contract.holder", str(self._store.path), owner) as child:
            yield child

    def kill(self) -> None:
        self._store.kill()

    def start(self, run_id: str = "run-1") -> None:
        self._store.run_id = run_id
        self._store.start()


class InMemoryDriver(EmbeddedDriver):
    """A store that writes nothing down."""

    durability = "memory"


class NormalDriver(EmbeddedDriver):
    """A store that leaves the moment of writing to the kernel: it outlives a kill, not a power
    cut."""

    durability = "normal"


class InlineDriver:
    """No server at all: the memory of this process."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator[Driver]:
        store = MemoryStore()
        yield cls(store)
        store.close()

    def client(self, owner: str, deadline: float = 10.0) -> Engine:
        return Inline(self._store, owner)

    @contextmanager
    def holder(self, owner: str) -> Iterator[Holder]:
        yield _Ghost(self._store, owner)


class _Ghost:
    """A client that dies without a word."""

    def __init__(self, store: MemoryStore, owner: str) -> None:
        self._store = store
        self._client = InlineConnection(store, owner, lambda _: None)
        store.add(self._client)
        self._client.take_now((), 1)

    def kill(self) -> None:
        self._store.remove(self._client, lost=True)


DRIVERS = [EmbeddedDriver, InMemoryDriver, InlineDriver]
SERVERS = [EmbeddedDriver, NormalDriver]


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


def an_envelope(**fields: object) -> Envelope:
    return Envelope(**{"id": new_id(), "name": "orders.Send", "body": b'{"n":1}', **fields})  # type: ignore[arg-type]


def with_engine(driver: Driver, test: Callable[[Engine], Awaitable[None]]) -> None:
    """Run a test with one open engine."""

    async def run() -> None:
        async with opened(driver) as engine:
            await test(engine)

    asyncio.run(run())


def duplicates(outcomes: list[Outcome]) -> list[bool]:
    return [outcome.duplicate for outcome in outcomes]


async def lease_one(engine: Engine, queues: tuple[str, ...] = ()) -> Lease:
    (lease,) = await asyncio.wait_for(engine.lease(queues, 1), 20)
    return lease


async def nothing_to_lease(engine: Engine, seconds: float = 0.1) -> bool:
    try:
        leases = await asyncio.wait_for(engine.lease((), 10), seconds)
    except TimeoutError:
        return True
    raise AssertionError(f"something was leased: {leases}")


async def leased(engine: Engine, number: int) -> None:
    """Wait until so many are leased."""

    async def so_many() -> bool:
        return (await engine.stats())["default"].leased == number

    await wait_until_async(so_many)
