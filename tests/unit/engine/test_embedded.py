"""The client of the store, where the contract of engines does not reach."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skep.base.errors import EngineError, StoreUnavailable
from skep.engine.contract import Envelope, Settlement
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from skep.engine.store_connection import StoreConnection
from skep.testing.real import store

MEGABYTE = 1024 * 1024


def an_envelope(body: bytes = b"{}") -> Envelope:
    return Envelope(new_id(), "orders.Send", body)


def with_engine(directory: Path, test: Callable[[Embedded], Awaitable[None]]) -> None:
    async def run() -> None:
        async with store(directory) as path:
            engine = Embedded(path, "a")
            await engine.open()
            await test(engine)
            await engine.close()

    asyncio.run(run())


def test_a_socket_nobody_listens_on_is_named(tmp_path: Path) -> None:
    engine = Embedded(tmp_path / "store.sock", "a", deadline=0.1)
    with pytest.raises(StoreUnavailable, match=r"Nothing listens on .*store\.sock"):
        asyncio.run(engine.open())


def test_a_path_too_long_for_the_kernel_is_no_obstacle(tmp_path: Path) -> None:
    async def test(engine: Embedded) -> None:
        assert not (await engine.put([an_envelope()]))[0].duplicate

    with_engine(tmp_path / ("long" * 30), test)


def test_more_than_a_request_may_hold_is_refused_and_nothing_else_suffers(tmp_path: Path) -> None:
    async def test(engine: Embedded) -> None:
        with pytest.raises(EngineError, match="deliver less at once"):
            await engine.put([an_envelope(b"x" * MEGABYTE) for _ in range(17)])
        assert not (await engine.put([an_envelope()]))[0].duplicate

    with_engine(tmp_path, test)


def test_leases_and_what_follows_them_may_be_larger_than_a_request(tmp_path: Path) -> None:
    async def test(engine: Embedded) -> None:
        # Given leases that are too large together to be one request
        for _ in range(20):
            await engine.put([an_envelope(b"x" * MEGABYTE)])
        leases = await engine.lease((), 20)
        assert len(leases) == 20
        # When all are settled at once, each with something as large to follow
        settlements = [
            Settlement(lease, "done", then=(an_envelope(b"y" * MEGABYTE),)) for lease in leases
        ]
        assert await engine.settle(settlements) == [True] * 20
        # Then all of it has happened
        assert (await engine.stats())["default"].ready == 20

    with_engine(tmp_path, test)


def test_a_call_that_is_open_when_the_engine_is_closed_fails(tmp_path: Path) -> None:
    async def test(engine: Embedded) -> None:
        leasing = asyncio.create_task(engine.lease((), 1))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await leasing

    with_engine(tmp_path, test)


def test_leases_that_arrive_with_the_cancellation_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(engine: Embedded) -> None:
        # Given somebody who waits, and is cancelled in the very round in which the leases arrive
        waiting = asyncio.create_task(engine.lease((), 1))
        receive = StoreConnection._receive

        def receive_and_cancel(*arguments: Any) -> None:
            receive(*arguments)
            waiting.cancel()

        monkeypatch.setattr(StoreConnection, "_receive", receive_and_cancel)
        await engine.put([an_envelope()])
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        # Then they are there for the next
        monkeypatch.undo()
        (lease,) = await asyncio.wait_for(engine.lease((), 1), 20)
        assert (lease.attempt, lease.losses) == (1, 0)

    with_engine(tmp_path, test)
