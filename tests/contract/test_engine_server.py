"""The contract of an engine whose server dies and comes back."""

import asyncio
from collections import Counter

import pytest

from skep.base.errors import EngineError, StoreUnavailable
from skep.engine.contract import Engine, Settlement
from skep.engine.ids import now_ms
from tests.contract.drivers import (
    Server,
    an_envelope,
    duplicates,
    lease_one,
    leased,
    nothing_to_lease,
    opened,
    with_engine,
)

pytestmark = pytest.mark.process


def test_what_was_put_survives_the_death_of_the_server(server: Server) -> None:
    async def test(engine: Engine) -> None:
        sent = [an_envelope(), an_envelope(due=now_ms() + 200)]
        await engine.put(sent)
        server.kill()
        server.start()
        assert [(await lease_one(engine)).envelope for _ in sent] == sent

    with_engine(server, test)


def test_what_is_asked_while_the_server_is_away_is_answered_by_the_next(server: Server) -> None:
    async def test(engine: Engine) -> None:
        # Given calls of all sorts that find no server
        await engine.put([an_envelope(), an_envelope()])
        held = await lease_one(engine)
        server.kill()
        putting = asyncio.create_task(engine.put([an_envelope()]))
        settling = asyncio.create_task(engine.settle([Settlement(held, "done")]))
        counting = asyncio.create_task(engine.stats())
        leasing = asyncio.create_task(engine.lease((), 10))
        await asyncio.sleep(0)
        # When there is one again
        server.start()
        # Then all are answered
        assert duplicates(await putting) == [False]
        assert await settling == [True]
        assert "default" in await counting
        assert {lease.losses for lease in await leasing} == {0}

    with_engine(server, test)


def test_a_put_repeated_because_the_server_died_is_kept_once(server: Server) -> None:
    async def test(engine: Engine) -> None:
        # Given many puts on their way
        sent = [an_envelope() for _ in range(3000)]
        puts = [asyncio.create_task(engine.put([envelope])) for envelope in sent]
        # When the server is killed in the middle of them
        await asyncio.wait(puts, return_when=asyncio.FIRST_COMPLETED)
        server.kill()
        server.start()
        await asyncio.gather(*puts)
        # Then each is there once
        seen: list[str] = []
        while len(seen) < len(sent):
            seen += [lease.envelope.id for lease in await engine.lease((), 500)]
        assert Counter(seen) == Counter(envelope.id for envelope in sent)
        assert await nothing_to_lease(engine)

    with_engine(server, test)


def test_a_holder_keeps_its_lease_over_the_death_of_the_server(server: Server) -> None:
    async def run() -> None:
        async with opened(server, "a") as holder, opened(server, "b") as other:
            await holder.put([an_envelope()])
            lease = await lease_one(holder)
            server.kill()
            server.start()
            assert await nothing_to_lease(other, 0.5)
            assert await holder.settle([Settlement(lease, "done")]) == [True]

    asyncio.run(run())


def test_a_server_of_another_run_gives_the_leases_of_the_last_one_to_others(server: Server) -> None:
    async def run() -> None:
        async with opened(server, "a") as holder, opened(server, "b") as other:
            # Given a lease from before everything was killed, whose holder still lives
            await holder.put([an_envelope()])
            old = await lease_one(holder)
            # When the platform runs again, then the delivery is given out again
            server.kill()
            server.start(run_id="run-2")
            new = await lease_one(other)
            assert (new.attempt, new.losses) == (1, 1)
            # And what the former holder says does not count
            follow = an_envelope(name="orders.Follow")
            assert await holder.settle([Settlement(old, "done", then=(follow,))]) == [False]
            assert await other.settle([Settlement(new, "done")]) == [True]
            assert await other.stats() == {}

    asyncio.run(run())


def test_the_lease_of_one_that_died_with_the_server_is_given_out_again(server: Server) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        with server.holder("holder") as holder:
            await leased(engine, 1)
            server.kill()
            holder.kill()
        server.start()
        # It is waited for a while, because it might come back
        (lease,) = await asyncio.wait_for(engine.lease((), 1), 20)
        assert lease.losses == 1

    with_engine(server, test)


def test_a_call_fails_when_the_server_stays_away(server: Server) -> None:
    async def run() -> None:
        engine = server.client("a", deadline=0.3)
        await engine.open()
        server.kill()
        with pytest.raises(StoreUnavailable, match="not known"):
            await engine.put([an_envelope()])
        await engine.close()
        with pytest.raises(EngineError, match="not open"):
            await engine.stats()

    asyncio.run(run())
