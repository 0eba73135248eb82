"""What the steps of tasks and the workers of single queues need of every engine."""

import asyncio

import pytest

from skep.engine.contract import Engine, Envelope, Settlement
from skep.engine.ids import new_id, now_ms
from tests.contract.drivers import Driver, with_engine

pytestmark = pytest.mark.process


def test_what_follows_under_the_same_id_goes_on_with_key_and_result(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        # Given a delivery that is put again because nobody knows its name yet
        sent = Envelope(new_id(), "t", b"", key="k", unique_for=60_000, keep_result=60_000)
        await engine.put([sent])
        (lease,) = await engine.lease((), 1)
        assert await engine.settle([Settlement(lease, "done", then=(sent,))]) == [True]
        # Then it is there, alone with its key, and has not ended
        assert await engine.result(sent.id) is None
        (outcome,) = await engine.put([Envelope(new_id(), "t", b"", key="k")])
        assert (outcome.id, outcome.duplicate) == (sent.id, True)
        (lease,) = await engine.lease((), 1)
        assert lease.envelope == sent
        # And when it has ended, it has
        await engine.settle([Settlement(lease, "done", result=b"7")])
        result = await engine.result(sent.id)
        assert result is not None
        assert (result.ending, result.body) == ("done", b"7")

    with_engine(driver, test)


def test_a_queue_can_be_left_out(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        queues = ("media", "mail", "unheard-of")
        await engine.put([Envelope(new_id(), "t", b"", queue=queue) for queue in queues])
        leases = await engine.lease(("-media", "-nothing"), 5)
        if len(leases) < 2:
            leases += await engine.lease(("-media",), 5)
        assert {lease.envelope.queue for lease in leases} == {"mail", "unheard-of"}
        # And what comes later is not for it either
        waiting = asyncio.create_task(engine.lease(("-media",), 5))
        await engine.put([Envelope(new_id(), "t", b"", queue="media", due=now_ms())])
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        waiting.cancel()

    with_engine(driver, test)
