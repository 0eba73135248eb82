"""The contract of an engine, kept by every driver: see `skep.engine.contract`."""

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from skep.engine.contract import Engine, Lease, Settlement
from skep.engine.ids import now_ms
from tests.contract.drivers import (
    Driver,
    an_envelope,
    duplicates,
    lease_one,
    leased,
    nothing_to_lease,
    opened,
    with_engine,
)
from tests.support import wait_until, wait_until_async

pytestmark = pytest.mark.process


# -- put and lease ---------------------------------------------------------------------------------


def test_what_was_put_is_leased_as_it_was(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        before = now_ms()
        sent = an_envelope(queue="media", headers={"step": "finish", "ä": "ö"}, priority=3)
        assert duplicates(await engine.put([sent])) == [False]
        lease = await lease_one(engine)
        assert lease.envelope == sent
        assert (lease.attempt, lease.losses) == (1, 0)
        assert before <= lease.put_at <= now_ms()

    with_engine(driver, test)


def test_what_is_put_twice_is_kept_once(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope()
        assert duplicates(await engine.put([sent, sent])) == [False, True]
        assert duplicates(await engine.put([sent])) == [True]
        await lease_one(engine)
        assert duplicates(await engine.put([sent])) == [True]
        assert await nothing_to_lease(engine)

    with_engine(driver, test)


def test_what_was_put_first_is_leased_first(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = [an_envelope(id=f"{random.random()}") for _ in range(30)]
        await engine.put(sent[:20])
        await engine.put(sent[20:])
        leases = await engine.lease((), 10) + await engine.lease((), 30)
        assert [lease.envelope for lease in leases] == sent

    with_engine(driver, test)


def test_a_higher_priority_is_leased_first(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        low, high, middle, high_too = (an_envelope(priority=p) for p in (-1, 7, 0, 7))
        await engine.put([low, high, middle, high_too])
        leases = await engine.lease((), 2) + await engine.lease((), 2)
        assert [lease.envelope for lease in leases] == [high, high_too, middle, low]

    with_engine(driver, test)


def test_only_the_queues_asked_for_are_leased_from(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        mail, media, other = (an_envelope(queue=q) for q in ("mail", "media", "other"))
        await engine.put([mail, media, other])
        leases = await engine.lease(("media", "mail", "none"), 10)
        assert {lease.envelope.queue for lease in leases} == {"media", "mail"}
        assert (await lease_one(engine)).envelope == other

    with_engine(driver, test)


def test_a_busy_queue_does_not_starve_another(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(queue="busy") for _ in range(100)])
        await engine.put([an_envelope(queue="quiet")])
        queues = [(await lease_one(engine, ("busy", "quiet"))).envelope.queue for _ in range(10)]
        assert "quiet" in queues

    with_engine(driver, test)


def test_who_waits_gets_what_is_put_later(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        waiting = asyncio.create_task(lease_one(engine))
        assert await nothing_to_lease(engine)
        sent = an_envelope()
        await engine.put([sent])
        assert (await waiting).envelope == sent

    with_engine(driver, test)


def test_what_is_delayed_is_never_early_and_holds_up_nothing(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        due = now_ms() + 1000
        later, now = an_envelope(due=due), an_envelope()
        await engine.put([later, now])
        assert (await lease_one(engine)).envelope == now
        assert (await engine.stats())["default"].scheduled == 1
        assert (await lease_one(engine)).envelope == later
        assert time.time() * 1000 >= due

    with_engine(driver, test)


def test_eight_racing_clients_lease_everything_once(driver: Driver) -> None:
    async def race() -> None:
        # Given eight clients and two hundred deliveries
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(opened(driver, f"task.{n}@1:{n}")) for n in range(8)
            ]
            sent = [an_envelope() for _ in range(200)]
            seen: Counter[str] = Counter()

            async def work(engine: Engine) -> None:
                while True:
                    leases = await engine.lease((), random.randint(1, 5))
                    seen.update(lease.envelope.id for lease in leases)
                    settlements = [Settlement(lease, "done") for lease in leases]
                    assert all(await engine.settle(settlements))

            # When all lease as fast as they can while it is put
            workers = [asyncio.create_task(work(client)) for client in clients]
            for n in range(0, len(sent), 10):
                await clients[0].put(sent[n : n + 10])

            # Then each is leased once
            async def empty() -> bool:
                return not await clients[0].stats()

            await wait_until_async(empty)
            assert seen == Counter(envelope.id for envelope in sent)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    asyncio.run(race())


def test_a_lease_given_up_while_it_is_on_its_way_goes_to_the_next(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        # Given somebody who waits for a lease and leaves at any moment
        for n in range(60):
            waiting = asyncio.create_task(engine.lease((), 1))
            for _ in range(n % 7):
                await asyncio.sleep(0)
            putting = asyncio.create_task(engine.put([an_envelope()]))
            for _ in range(n % 11):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting, putting])
            # Then the delivery is there, whether it was on its way or not
            lease = await (lease_one(engine) if waiting.cancelled() else _first(waiting))
            assert (lease.attempt, lease.losses) == (1, 0)
            await engine.settle([Settlement(lease, "done")])

    with_engine(driver, test)


async def _first(done: "asyncio.Task[list[Lease]]") -> Lease:
    return done.result()[0]


# -- settle ----------------------------------------------------------------------------------------


def test_what_is_done_is_gone(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        assert await engine.settle([Settlement(await lease_one(engine), "done")]) == [True]
        assert await engine.stats() == {}

    with_engine(driver, test)


def test_what_is_to_be_tried_again_comes_back_in_time_one_attempt_older(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope()
        await engine.put([sent])
        at = now_ms() + 200
        await engine.settle([Settlement(await lease_one(engine), "retry", at=at)])
        again = await lease_one(engine)
        assert time.time() * 1000 >= at
        assert (again.envelope.id, again.attempt, again.losses) == (sent.id, 2, 0)

    with_engine(driver, test)


def test_what_is_released_comes_back_as_if_never_leased(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope()
        await engine.put([sent])
        await engine.settle([Settlement(await lease_one(engine), "release")])
        again = await lease_one(engine)
        assert (again.envelope, again.attempt, again.losses) == (sent, 1, 0)
        at = now_ms() + 150
        await engine.settle([Settlement(again, "release", at=at)])
        later = await lease_one(engine)
        assert time.time() * 1000 >= at
        assert (later.attempt, later.losses) == (1, 0)

    with_engine(driver, test)


def test_what_is_released_comes_before_what_was_put_after_it(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        first, second = an_envelope(), an_envelope()
        await engine.put([first, second])
        await engine.settle([Settlement(await lease_one(engine), "release")])
        assert (await lease_one(engine)).envelope == first

    with_engine(driver, test)


def test_what_is_dead_is_kept_with_its_reason(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope(headers={"step": "finish"})
        await engine.put([sent])
        lease = await lease_one(engine)
        await engine.settle([Settlement(lease, "dead", reason="failed", error="Traceback …")])
        assert await nothing_to_lease(engine)
        (row,) = await engine.scan("default", "dead")
        assert (row.envelope, row.reason, row.error) == (sent, "failed", "Traceback …")
        assert (await engine.stats())["default"].dead == 1

    with_engine(driver, test)


def test_what_follows_is_put_when_the_settlement_counts(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        lease, following = await lease_one(engine), an_envelope(name="orders.Follow")
        assert await engine.settle([Settlement(lease, "done", then=(following,))]) == [True]
        assert (await lease_one(engine)).envelope == following

    with_engine(driver, test)


def test_a_settlement_without_a_lease_does_nothing_nor_does_what_follows_it(driver: Driver) -> None:
    async def run() -> None:
        async with opened(driver, "a") as first, opened(driver, "b") as second:
            # Given a lease that its holder has given back, and another holds now
            await first.put([an_envelope()])
            old = await lease_one(first)
            await first.settle([Settlement(old, "release")])
            new = await lease_one(second)
            # When the former one settles it in every way there is, then nothing happens
            follow = (an_envelope(name="orders.Follow"),)
            for verdict in ("done", "retry", "dead", "release"):
                settlement = Settlement(old, verdict, then=follow)
                assert await first.settle([settlement]) == [False]
            assert await nothing_to_lease(first)
            # And the present one can
            assert await second.settle([Settlement(new, "done")]) == [True]
            assert await second.settle([Settlement(new, "done")]) == [False]
            assert await first.stats() == {}

    asyncio.run(run())


def test_what_follows_may_bear_the_name_of_what_is_done(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        lease = await lease_one(engine)
        again = an_envelope(id=lease.envelope.id, headers={"unknown": "1"})
        await engine.settle([Settlement(lease, "done", then=(again,))])
        assert (await lease_one(engine)).envelope == again

    with_engine(driver, test)


def test_of_many_settlements_each_counts_for_itself(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(), an_envelope()])
        first, second = await engine.lease((), 2)
        await engine.settle([Settlement(first, "done")])
        both = [Settlement(first, "done"), Settlement(second, "done")]
        assert await engine.settle(both) == [False, True]

    with_engine(driver, test)


# -- questions -------------------------------------------------------------------------------------


def test_stats_tell_how_much_is_in_which_state(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        assert await engine.stats() == {}
        before = now_ms()
        await engine.put([an_envelope(priority=p) for p in (0, 5, -5)])
        await engine.put([an_envelope(due=now_ms() + 60_000), an_envelope(queue="mail")])
        await lease_one(engine, ("default",))
        stats = await engine.stats()
        counts = stats["default"]
        assert (counts.ready, counts.scheduled, counts.leased, counts.dead) == (2, 1, 1, 0)
        assert before <= counts.oldest <= now_ms()
        assert stats["mail"].ready == 1

    with_engine(driver, test)


def test_the_oldest_is_found_whatever_its_priority(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(priority=-3)])
        (row,) = await engine.scan("default", "ready")
        wait_until(lambda: now_ms() > row.put_at)
        await engine.put([an_envelope(priority=9), an_envelope()])
        assert (await engine.stats())["default"].oldest == row.put_at

    with_engine(driver, test)


def test_a_scan_goes_through_a_queue_page_by_page(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = [an_envelope() for _ in range(7)]
        await engine.put(sent)
        seen, place = [], ""
        while rows := await engine.scan("default", "ready", place, 3):
            assert len(rows) <= 3
            seen += [row.envelope for row in rows]
            place = rows[-1].place
        assert seen == sent
        assert await engine.scan("other", "ready") == []

    with_engine(driver, test)


def test_a_scan_names_the_holder_of_a_lease(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        await lease_one(engine)
        (row,) = await engine.scan("default", "leased")
        assert row.holder == "task.0@1:1"

    with_engine(driver, test)


# -- holders --------------------------------------------------------------------------------------


def test_who_closes_gives_back_what_it_holds_uncounted(driver: Driver) -> None:
    async def run() -> None:
        async with opened(driver, "b") as other:
            async with opened(driver, "a") as engine:
                await engine.put([an_envelope()])
                await lease_one(engine)
            lease = await lease_one(other)
            assert (lease.attempt, lease.losses) == (1, 0)

    asyncio.run(run())


def test_the_lease_of_a_process_that_is_killed_goes_to_another_as_a_loss(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        # Given a process that holds a lease, and another that waits
        await engine.put([an_envelope()])
        with driver.holder("holder") as holder:
            await leased(engine, 1)
            waiting = asyncio.create_task(lease_one(engine))
            # When it is killed
            holder.kill()
            # Then the other gets it, with nothing in between but the loss of the connection
            lease = await waiting
            assert (lease.attempt, lease.losses) == (1, 1)

    with_engine(driver, test)
