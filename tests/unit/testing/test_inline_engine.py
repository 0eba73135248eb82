"""The inline engine, where the contract of engines does not reach."""

import asyncio

import pytest

from skep.base.errors import RequestRefused
from skep.engine.contract import Envelope
from skep.engine.ids import new_id
from skep.testing.inline_engine import Inline, MemoryStore


def test_what_the_platform_refuses_for_its_size_is_refused_and_not_kept() -> None:
    async def test() -> None:
        store = MemoryStore()
        engine = Inline(store, "a")
        await engine.open()
        envelopes = [Envelope(new_id(), "orders.Send", b"x" * 1024 * 1024) for _ in range(17)]
        with pytest.raises(RequestRefused, match="deliver less at once"):
            await engine.put(envelopes)
        assert await engine.stats() == {}
        await engine.close()
        store.close()

    asyncio.run(test())


def test_clients_that_wait_for_nothing_do_not_wake_each_other() -> None:
    async def test() -> None:
        looks = 0

        def clock() -> int:
            nonlocal looks
            looks += 1
            return 1

        store = MemoryStore(clock)
        engines = [Inline(store, owner) for owner in ("a", "b")]
        for engine in engines:
            await engine.open()
        leasing = [asyncio.create_task(engine.lease((), 1)) for engine in engines]
        for _ in range(100):
            await asyncio.sleep(0)
        assert looks < 20
        for task in leasing:
            task.cancel()
        await asyncio.wait(leasing)
        for engine in engines:
            await engine.close()
        store.close()

    asyncio.run(test())
