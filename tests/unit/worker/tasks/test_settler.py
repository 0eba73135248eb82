"""How leases end: together, in order, however long the store is away, and only those still held."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import cast

import pytest

from skep.base.errors import StoreFull, StoreUnavailable
from skep.engine.contract import Engine, Envelope, Lease, Settlement
from skep.worker.tasks.runner import Settler
from tests.unit.supervisor.fakes import pass_time, run


class Store:
    """An engine that only settles; `lost` are the ids of leases that it has given to another."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.lost: set[str] = set()
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self.batches.append([one.lease.envelope.id for one in settlements])
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return [one.lease.envelope.id not in self.lost for one in settlements]


class Shift:
    """A settler at work, and whom it has told."""

    def __init__(self) -> None:
        self.store = Store()
        self.told: list[str] = []
        self.settler = Settler(cast(Engine, self.store))

    def settle(self, *ids: str) -> None:
        """The tasks with these ids are done."""
        for name in ids:
            lease = Lease(Envelope(name, "orders.Send", b"{}"), name, 1, 0, 0)
            self.settler.settle(Settlement(lease, "done"), partial(self.told.append, name))


def on_a_shift(test: Callable[[Shift], Awaitable[None]]) -> None:
    async def main() -> None:
        shift = Shift()
        work = asyncio.create_task(shift.settler.work())
        await test(shift)
        assert not work.done()
        work.cancel()

    run(main)


def test_a_lost_lease_is_not_told_as_done(caplog: pytest.LogCaptureFixture) -> None:
    async def test(shift: Shift) -> None:
        shift.store.lost = {"b"}
        with caplog.at_level(logging.WARNING):
            shift.settle("a", "b", "c")
            await pass_time()
        assert shift.told == ["a", "c"]
        assert [record.message for record in caplog.records] == [
            "The lease of orders.Send b was lost while it ran, so this run does not count: "
            "it runs again, or has already."
        ]

    on_a_shift(test)


def test_what_ends_while_the_store_is_busy_is_settled_together() -> None:
    async def test(shift: Shift) -> None:
        shift.store.answers.clear()
        shift.settle("a")
        await pass_time()
        shift.settle("b", "c")
        idle = asyncio.ensure_future(shift.settler.wait_until_idle())
        await pass_time()
        assert (shift.store.batches, shift.told) == ([["a"]], [])
        shift.store.answers.set()
        shift.store.answers.clear()  # it answers once
        await pass_time()
        assert shift.store.batches == [["a"], ["b", "c"]]
        assert (shift.told, idle.done()) == (["a"], False)
        shift.store.answers.set()
        await pass_time()
        assert (shift.told, idle.done()) == (["a", "b", "c"], True)

    on_a_shift(test)


def test_nobody_waits_for_a_settler_that_has_nothing_to_settle() -> None:
    async def test(shift: Shift) -> None:
        await shift.settler.wait_until_idle()
        shift.settle("a")
        idle = asyncio.ensure_future(shift.settler.wait_until_idle())
        assert shift.told == []
        await pass_time()
        assert (shift.told, idle.done()) == (["a"], True)

    on_a_shift(test)


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), StoreFull("it is full")])
def test_a_store_that_cannot_settle_is_asked_until_it_can(error: Exception) -> None:
    async def test(shift: Shift) -> None:
        shift.store.error = error
        shift.settle("a", "b")
        idle = asyncio.ensure_future(shift.settler.wait_until_idle())
        await pass_time()
        for _ in range(5):
            await pass_time(20.0)
        assert shift.store.batches == [["a", "b"]] * 6
        assert (shift.told, idle.done()) == ([], False)
        shift.store.error = None
        await pass_time(20.0)
        assert (shift.told, idle.done()) == (["a", "b"], True)

    on_a_shift(test)
