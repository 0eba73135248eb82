"""The contract of an engine: unique keys, lanes, limits, results, cancelling, holds and edits."""

import asyncio

import pytest
from msgspec.structs import replace

from skep.base.errors import EngineError, QueueFull
from skep.engine.contract import (
    CUT_OFF,
    LARGEST_PROGRESS,
    CountedStep,
    Engine,
    Envelope,
    QueueLimits,
    Settlement,
)
from skep.engine.ids import now_ms
from tests.contract.drivers import (
    Driver,
    an_envelope,
    duplicates,
    lease_one,
    nothing_to_lease,
    opened,
    with_engine,
)
from tests.support import wait_until, wait_until_async

pytestmark = pytest.mark.process


async def done(engine: Engine) -> str:
    """Lease one and settle it; return its id."""
    lease = await lease_one(engine)
    assert await engine.settle([Settlement(lease, "done")]) == [True]
    return lease.envelope.id


# -- unique keys -----------------------------------------------------------------------------------


def test_of_a_unique_key_one_is_kept_and_the_others_are_told_which(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        # Given one that has the key, when others ask for it
        first = an_envelope(key="resize:7")
        others = [an_envelope(key="resize:7") for _ in range(3)]
        outcomes = await engine.put([first, *others, an_envelope(key="resize:8")])
        # Then they are told who has it, whether it waits or runs
        assert duplicates(outcomes) == [False, True, True, True, False]
        assert [outcome.id for outcome in outcomes[:4]] == [first.id] * 4
        lease = await lease_one(engine)
        (outcome,) = await engine.put([an_envelope(key="resize:7")])
        assert (outcome.id, outcome.duplicate) == (first.id, True)
        # And when it has ended, the key is free
        await engine.settle([Settlement(lease, "done")])
        assert duplicates(await engine.put([an_envelope(key="resize:7")])) == [False]

    with_engine(driver, test)


def test_a_unique_key_survives_retries_and_is_free_after_the_last(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(key="k")])
        await engine.settle([Settlement(await lease_one(engine), "retry")])
        assert duplicates(await engine.put([an_envelope(key="k")])) == [True]
        await engine.settle([Settlement(await lease_one(engine), "dead", reason="failed")])
        assert duplicates(await engine.put([an_envelope(key="k")])) == [False]

    with_engine(driver, test)


def test_a_unique_key_is_kept_for_a_while_after_the_end(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(key="k", unique_for=400)])
        await done(engine)
        ended = now_ms()
        assert duplicates(await engine.put([an_envelope(key="k")])) == [True]
        await asyncio.to_thread(wait_until, lambda: now_ms() > ended + 400)
        assert duplicates(await engine.put([an_envelope(key="k")])) == [False]

    with_engine(driver, test)


def test_what_follows_with_a_key_that_another_has_is_not_put(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        lease = await lease_one(engine)
        await engine.put([an_envelope(key="k", due=now_ms() + 60_000)])
        then = (an_envelope(key="k"), an_envelope(name="orders.Other"))
        assert await engine.settle([Settlement(lease, "done", then=then)]) == [True]
        assert (await lease_one(engine)).envelope.name == "orders.Other"
        assert await nothing_to_lease(engine)

    with_engine(driver, test)


# -- concurrency keys ------------------------------------------------------------------------------


def test_of_a_concurrency_key_one_is_handed_out_at_a_time_in_order(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = [an_envelope(concurrency_key="customer:7", queue=q) for q in ("a", "b", "a")]
        await engine.put([*sent, an_envelope(concurrency_key="customer:8")])
        # Only the first is handed out, and what has another key
        first, other = await engine.lease((), 1), await engine.lease((), 9)
        leases = {lease.envelope.concurrency_key: lease for lease in (*first, *other)}
        assert leases.keys() == {"customer:7", "customer:8"}
        assert leases["customer:7"].envelope == sent[0]
        assert sum(stats.blocked for stats in (await engine.stats()).values()) == 2
        # Each follows the end of the one before, however that came
        await engine.settle([Settlement(leases["customer:7"], "done")])
        second = await lease_one(engine)
        assert second.envelope == sent[1]
        assert await nothing_to_lease(engine)
        await engine.settle([Settlement(second, "dead", reason="failed")])
        assert (await lease_one(engine)).envelope == sent[2]

    with_engine(driver, test)


def test_what_waits_to_be_tried_again_lets_the_next_of_its_key_go(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        first, second = (an_envelope(concurrency_key="k") for _ in range(2))
        await engine.put([first, second])
        at = now_ms() + 150
        await engine.settle([Settlement(await lease_one(engine), "retry", at=at)])
        lease = await lease_one(engine)
        assert lease.envelope.id == second.id
        assert await nothing_to_lease(engine, 0.4)  # it is due, but has to wait for its turn
        await engine.settle([Settlement(lease, "done")])
        assert (await lease_one(engine)).envelope.id == first.id

    with_engine(driver, test)


def test_a_concurrency_key_may_let_several_go(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(concurrency_key="k", concurrency=3) for _ in range(10)])
        leases = await engine.lease((), 10)
        assert len(leases) == 3
        await engine.settle([Settlement(lease, "done") for lease in leases[:2]])
        assert len(await engine.lease((), 10)) == 2
        await engine.settle([Settlement(leases[2], "release")])
        assert (await lease_one(engine)).envelope == leases[2].envelope

    with_engine(driver, test)


def test_the_urgent_one_goes_first_within_its_concurrency_key(driver: Driver) -> None:
    """A11: the one that was ready first took the place, whatever came after it."""

    async def test(engine: Engine) -> None:
        low, middle, high = (
            an_envelope(priority=priority, concurrency_key="k", queue=queue)
            for priority, queue in ((1, "a"), (5, "b"), (9, "a"))
        )
        scheduled = an_envelope(priority=8, concurrency_key="k", due=now_ms() + 200)
        await engine.put([low, middle, scheduled])
        await wait_until_async(lambda: _is_due(engine, scheduled))
        await engine.put([high])
        for expected in (high, scheduled, middle, low):
            lease = await lease_one(engine)
            assert lease.envelope.id == expected.id
            assert await nothing_to_lease(engine, 0.05)
            await engine.settle([Settlement(lease, "done")])

    with_engine(driver, test)


async def _is_due(engine: Engine, envelope: Envelope) -> bool:
    row = await engine.find(envelope.id)
    return row is not None and row.state != "scheduled"


def test_what_is_given_back_takes_its_place_among_its_concurrency_key(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = [an_envelope(concurrency_key="k", concurrency=2) for _ in range(4)]
        await engine.put(sent)
        first, second = await engine.lease((), 10)
        urgent = an_envelope(priority=1, concurrency_key="k", concurrency=2)
        await engine.put([urgent])
        await engine.settle([Settlement(first, "release"), Settlement(second, "done")])
        assert [lease.envelope for lease in await engine.lease((), 10)] == [urgent, sent[0]]
        # And what is cancelled before its turn makes no room, and takes none
        assert await engine.cancel([sent[2].id]) == ["removed"]
        assert await nothing_to_lease(engine, 0.05)

    with_engine(driver, test)


def test_a_paused_queue_holds_up_none_of_its_concurrency_keys_elsewhere(driver: Driver) -> None:
    """A11: what waits in a paused queue is left out, and in its order again afterwards."""

    async def test(engine: Engine) -> None:
        stuck, other, later = (
            an_envelope(concurrency_key="k", queue=queue) for queue in ("paused", "open", "open")
        )
        await engine.put([stuck, other, later])
        await engine.pause(["paused"])
        lease = await lease_one(engine)
        assert lease.envelope == other
        # And what is put while it is paused neither
        late = an_envelope(priority=5, concurrency_key="k", queue="paused")
        await engine.put([late])
        await engine.settle([Settlement(lease, "done")])
        lease = await lease_one(engine)
        assert lease.envelope == later
        # And it goes on, one at a time and the urgent first, when it is paused no longer
        await engine.pause(["paused"], False)
        assert await nothing_to_lease(engine, 0.05)
        for expected in (late, stuck):
            await engine.settle([Settlement(lease, "done")])
            lease = await lease_one(engine)
            assert lease.envelope == expected
            assert await nothing_to_lease(engine, 0.05)

    with_engine(driver, test)


# -- cut-offs and senders --------------------------------------------------------------------------


def test_a_cut_off_is_counted_and_costs_no_attempt(driver: Driver) -> None:
    """A10: how often it was begun and cut off is known of what waits and of what is dead."""

    async def test(engine: Engine) -> None:
        sent = an_envelope(sender="run/7/code")
        await engine.put([sent])
        for cuts in range(3):
            lease = await lease_one(engine)
            assert (lease.cuts, lease.attempt, lease.losses) == (cuts, 1, 0)
            assert lease.envelope.sender == "run/7/code"
            await engine.settle([Settlement(lease, "cut")])
        row = await engine.find(sent.id)
        assert row is not None
        assert (row.cuts, row.state) == (3, "ready")
        await engine.settle([Settlement(await lease_one(engine), "dead", reason=CUT_OFF)])
        (dead,) = await engine.scan("default", "dead")
        assert (dead.cuts, dead.envelope, dead.reason) == (4, sent, "cut_off")
        # Run again by hand, it is for whoever is there, and begins as new
        await engine.edit([sent.id], "requeue")
        lease = await lease_one(engine)
        assert (lease.cuts, lease.envelope.sender) == (0, "")

    with_engine(driver, test)


def test_what_was_cancelled_does_not_begin_again_after_a_cut_off(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope()
        await engine.put([sent])
        lease = await lease_one(engine)
        assert await engine.cancel([sent.id]) == ["flagged"]
        await engine.settle([Settlement(lease, "cut")])
        assert await engine.find(sent.id) is None

    with_engine(driver, test)


# -- limits of queues ------------------------------------------------------------------------------


def test_a_full_queue_refuses_what_is_put_all_or_none(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.configure({"default": QueueLimits(max_ready=3)})
        kept = [an_envelope(), an_envelope(due=now_ms() + 60_000)]
        await engine.put(kept)
        with pytest.raises(QueueFull, match="default is full"):
            await engine.put([an_envelope(), an_envelope()])
        assert duplicates(await engine.put([an_envelope()])) == [False]
        # What is there already is no more, and another queue has room
        assert duplicates(await engine.put([kept[0]])) == [True]
        assert duplicates(await engine.put([an_envelope(queue="other")])) == [False]
        # What is being run makes room, and what follows from it is kept whatever there is
        lease = await lease_one(engine, ("default",))
        await engine.put([an_envelope()])
        then = (an_envelope(name="orders.Follow"),)
        assert await engine.settle([Settlement(lease, "done", then=then)]) == [True]
        with pytest.raises(QueueFull):
            await engine.put([an_envelope()])

    with_engine(driver, test)


def test_what_is_expected_may_be_said_again_and_names_no_delivery(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        steps = [CountedStep("orders.Send", "default"), CountedStep("First", "mail", "Paid")]
        for _ in range(2):
            await engine.expect(steps)
        assert await engine.stats() == {}
        await engine.put([an_envelope()])
        lease = await lease_one(engine)
        settlement = Settlement(lease, "done", step="orders.Send", outcome="success")
        assert await engine.settle([settlement]) == [True]

    with_engine(driver, test)


def test_a_queue_hands_out_no_more_at_a_time_than_it_may(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.configure({"mail": QueueLimits(concurrency=2)})
        await engine.put([an_envelope(queue="mail") for _ in range(5)])
        await engine.put([an_envelope(queue="other")])
        leases = await engine.lease(("mail", "other"), 10)
        assert sorted(lease.envelope.queue for lease in leases) == ["mail", "mail", "other"]
        assert await nothing_to_lease(engine)
        mail = next(lease for lease in leases if lease.envelope.queue == "mail")
        await engine.settle([Settlement(mail, "done")])
        assert len(await engine.lease((), 10)) == 1
        # Without the limit, the rest goes
        await engine.configure({})
        assert len(await engine.lease((), 10)) == 2

    with_engine(driver, test)


def test_a_queue_hands_out_no_faster_than_it_may(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.configure({"default": QueueLimits(rate=3, period=400)})
        await engine.put([an_envelope() for _ in range(7)])
        moments: list[int] = []
        while len(moments) < 7:
            leases = await engine.lease((), 10)
            moments += [now_ms()] * len(leases)
        # Of any four, the last came a period after the first; the clock is read on this side
        assert moments[3] - moments[0] >= 350
        assert moments[6] - moments[3] >= 350

    with_engine(driver, test)


def test_nothing_is_handed_out_of_a_paused_queue(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.pause(["mail"])
        await engine.put([an_envelope(queue="mail"), an_envelope(queue="mail")])
        assert await nothing_to_lease(engine)
        stats = (await engine.stats())["mail"]
        assert (stats.ready, stats.paused) == (2, True)
        waiting = asyncio.create_task(engine.lease((), 10))
        await engine.pause(["mail"], paused=False)
        assert len(await waiting) == 2
        assert not (await engine.stats())["mail"].paused

    with_engine(driver, test)


# -- results and progress --------------------------------------------------------------------------


def test_a_result_is_kept_for_as_long_as_was_asked(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope(keep_result=400)
        await engine.put([sent])
        assert await engine.result(sent.id) is None
        await engine.settle([Settlement(await lease_one(engine), "done", result=b'{"w":100}')])
        ended = now_ms()
        result = await engine.result(sent.id)
        assert result is not None
        assert (result.ending, result.body) == ("done", b'{"w":100}')
        await asyncio.to_thread(wait_until, lambda: now_ms() > ended + 400)
        assert await engine.result(sent.id, wait=5) is None

    with_engine(driver, test)


def test_who_waits_for_a_result_is_told_when_it_comes(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope(keep_result=60_000)
        await engine.put([sent])
        waiting = [asyncio.create_task(engine.result(sent.id, wait=10)) for _ in range(3)]
        lease = await lease_one(engine)
        assert await engine.result(sent.id, wait=0.05) is None
        await engine.settle([Settlement(lease, "dead", reason="failed", error="Traceback")])
        for result in await asyncio.wait_for(asyncio.gather(*waiting), 20):
            assert result is not None
            assert (result.id, result.ending, result.error) == (sent.id, "dead", "Traceback")

    with_engine(driver, test)


def test_nobody_waits_for_what_there_is_not(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        assert await asyncio.wait_for(engine.result("nothing", wait=60), 20) is None

    with_engine(driver, test)


def test_progress_is_seen_until_the_lease_ends(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope()
        await engine.put([sent])
        lease = await lease_one(engine)
        assert await engine.progress(lease, '{"done":3}')
        row = await engine.find(sent.id)
        assert row is not None
        assert (row.state, row.progress, row.holder) == ("leased", '{"done":3}', "task.0@1:1")
        with pytest.raises(EngineError, match="is the most"):
            await engine.progress(lease, "x" * (LARGEST_PROGRESS + 1))
        await engine.settle([Settlement(lease, "retry")])
        assert not await engine.progress(lease, "late")
        (row,) = await engine.scan("default", "ready")
        assert (row.progress, row.attempt) == ("", 2)

    with_engine(driver, test)


def test_the_last_error_is_seen_as_long_as_a_delivery_is_tried(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope()
        await engine.put([sent])
        for error, seen in (("first", "first"), ("second", "second"), ("", "second")):
            await engine.settle([Settlement(await lease_one(engine), "retry", error=error)])
            row = await engine.find(sent.id)
            assert row is not None
            assert (row.state, row.error) == ("ready", seen)
        await engine.settle([Settlement(await lease_one(engine), "release")])
        (row,) = await engine.scan("default", "ready")
        assert (row.error, row.attempt) == ("second", 4)
        await lease_one(engine)
        (row,) = await engine.scan("default", "leased")
        assert row.error == "second"

    with_engine(driver, test)


# -- cancelling ------------------------------------------------------------------------------------


def test_what_is_cancelled_before_it_began_never_does(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        ready, later = an_envelope(key="k"), an_envelope(due=now_ms() + 60_000)
        blocked = [an_envelope(concurrency_key="c") for _ in range(2)]
        await engine.put([ready, later, *blocked])
        ids = [ready.id, later.id, blocked[0].id, "nothing"]
        assert await engine.cancel(ids) == ["removed", "removed", "removed", "unknown"]
        # What had to wait for it goes, its key is free, and it is known what became of it
        assert (await lease_one(engine)).envelope == blocked[1]
        assert await nothing_to_lease(engine)
        assert duplicates(await engine.put([an_envelope(key="k")])) == [False]
        result = await engine.result(ready.id)
        assert result is not None
        assert result.ending == "cancelled"

    with_engine(driver, test)


@pytest.mark.parametrize("verdict", ["retry", "release"])
def test_the_holder_of_what_is_cancelled_is_told_and_it_does_not_come_back(
    driver: Driver, verdict: str
) -> None:
    async def run() -> None:
        async with opened(driver, "a") as holder, opened(driver, "b") as other:
            sent = an_envelope()
            await holder.put([sent])
            lease = await lease_one(holder)
            assert await other.cancel([sent.id]) == ["flagged"]
            assert await asyncio.wait_for(holder.cancelled(), 20) == [sent.id]
            row = await other.find(sent.id)
            assert row is not None
            assert row.cancelled
            assert await holder.settle([Settlement(lease, verdict)]) == [True]  # type: ignore[arg-type]
            assert await other.stats() == {}
            result = await other.result(sent.id)
            assert result is not None
            assert result.ending == "cancelled"

    asyncio.run(run())


def test_what_is_done_in_spite_of_a_cancellation_is_done(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope(keep_result=60_000)
        await engine.put([sent])
        lease = await lease_one(engine)
        assert await engine.cancel([sent.id]) == ["flagged"]
        await engine.settle([Settlement(lease, "done", result=b"1")])
        result = await engine.result(sent.id)
        assert result is not None
        assert (result.ending, result.body) == ("done", b"1")
        assert await engine.cancel([sent.id]) == ["unknown"]

    with_engine(driver, test)


def test_what_is_cancelled_does_not_survive_its_holder(driver: Driver) -> None:
    async def run() -> None:
        async with opened(driver, "b") as other:
            async with opened(driver, "a") as holder:
                sent = an_envelope()
                await holder.put([sent])
                await lease_one(holder)
                await other.cancel([sent.id])
            assert await nothing_to_lease(other)
            assert await other.stats() == {}

    asyncio.run(run())


# -- holders ---------------------------------------------------------------------------------------


def test_a_lease_is_extended_until_it_is_lost(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(), an_envelope()])
        leases = await engine.lease((), 2)
        assert await engine.extend(leases) == [True, True]
        await engine.settle([Settlement(leases[0], "done")])
        assert await engine.extend(leases) == [False, True]

    with_engine(driver, test)


def test_what_a_dead_owner_holds_can_be_reaped(driver: Driver) -> None:
    async def run() -> None:
        async with opened(driver, "a") as dead, opened(driver, "b") as other:
            await dead.put([an_envelope(), an_envelope()])
            old = await dead.lease((), 2)
            assert await other.reap("nobody") == 0
            assert await other.reap("a") == 2
            leases = await other.lease((), 2)
            assert [lease.losses for lease in leases] == [1, 1]
            # What it says if it lives after all is fenced
            assert await dead.settle([Settlement(lease, "done") for lease in old]) == [False] * 2
            assert await dead.extend(old) == [False, False]

    asyncio.run(run())


# -- the leader ------------------------------------------------------------------------------------


def test_a_name_is_held_by_one_at_a_time_and_every_holder_has_a_higher_epoch(
    driver: Driver,
) -> None:
    async def run() -> None:
        async with opened(driver, "a") as first, opened(driver, "b") as second:
            hold = await first.hold("timer", 60_000)
            assert hold is not None
            assert await second.hold("timer", 60_000) is None
            assert await second.hold("other", 60_000) is not None
            # It is renewed without another epoch
            again = await first.hold("timer", 90_000, hold.token)
            assert again is not None
            assert again.epoch == hold.epoch
            assert again.until > hold.until
            # And handed over with one
            await first.drop(again)
            await first.drop(again)
            taken = await second.hold("timer", 60_000)
            assert taken is not None
            assert taken.epoch == hold.epoch + 1
            await first.drop(again)  # is no longer its own
            assert await first.hold("timer", 60_000, hold.token) is None

    asyncio.run(run())


def test_a_hold_that_is_not_renewed_goes_to_another(driver: Driver) -> None:
    async def run() -> None:
        async with opened(driver, "a") as first, opened(driver, "b") as second:
            hold = await first.hold("timer", 200)
            assert hold is not None
            await asyncio.to_thread(wait_until, lambda: now_ms() > hold.until)
            taken = await second.hold("timer", 60_000)
            assert taken is not None
            assert taken.epoch > hold.epoch
            assert await first.hold("timer", 200, hold.token) is None

    asyncio.run(run())


# -- edits -----------------------------------------------------------------------------------------


def test_a_dead_letter_is_run_again_as_if_new(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope(headers={"a": "b"}, priority=3, key="k", keep_result=60_000)
        await engine.put([sent])
        await engine.settle([Settlement(await lease_one(engine), "retry")])
        await engine.settle([Settlement(await lease_one(engine), "dead", reason="failed")])
        assert await engine.edit([sent.id, "nothing"], "requeue") == 1
        lease = await lease_one(engine)
        assert (lease.attempt, lease.losses) == (1, 0)
        # It says why it was dead, and is otherwise what it was
        assert lease.envelope.headers == {"a": "b", "died": "failed"}
        assert replace(lease.envelope, headers=sent.headers) == sent
        assert (await engine.stats())["default"].dead == 0
        assert await engine.result(sent.id) is None

    with_engine(driver, test)


def test_a_dead_letter_whose_key_another_has_stays_dead(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = an_envelope(key="k")
        await engine.put([sent])
        await engine.settle([Settlement(await lease_one(engine), "dead", reason="failed")])
        await engine.put([an_envelope(key="k")])
        assert await engine.edit([sent.id], "requeue") == 0
        row = await engine.find(sent.id)
        assert row is not None
        assert (row.state, row.reason) == ("dead", "failed")

    with_engine(driver, test)


def test_what_waits_or_is_dead_can_be_deleted_and_what_is_leased_not(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        dead, held, waiting = (an_envelope() for _ in range(3))
        await engine.put([dead, held, waiting])
        await engine.settle([Settlement(await lease_one(engine), "dead", reason="failed")])
        await lease_one(engine)
        ids = [dead.id, held.id, waiting.id]
        assert await engine.edit(ids, "delete") == 2
        assert [await engine.find(id_) is None for id_ in ids] == [True, False, True]
        assert (await engine.stats())["default"].leased == 1

    with_engine(driver, test)


def test_what_is_scheduled_can_be_made_ready_now(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        later, ready = an_envelope(due=now_ms() + 60_000), an_envelope()
        await engine.put([later, ready])
        await engine.pause(["default"])
        assert await engine.edit([later.id, ready.id], "promote") == 1
        await engine.pause(["default"], paused=False)
        leases = await engine.lease((), 2)
        while len(leases) < 2:
            leases += await asyncio.wait_for(engine.lease((), 2), 20)
        assert {lease.envelope.id for lease in leases} == {later.id, ready.id}

    with_engine(driver, test)


def test_a_delivery_is_found_whatever_its_state(driver: Driver) -> None:
    async def test(engine: Engine) -> None:
        sent = {
            "ready": an_envelope(),
            "scheduled": an_envelope(due=now_ms() + 60_000),
            "leased": an_envelope(priority=1, concurrency_key="c"),
            "blocked": an_envelope(concurrency_key="c"),
            "dead": an_envelope(priority=2, keep_result=5),
        }
        await engine.put(list(sent.values()))
        await engine.settle([Settlement(await lease_one(engine), "dead", reason="failed")])
        await lease_one(engine)
        for state, envelope in sent.items():
            row = await engine.find(envelope.id)
            assert row is not None
            assert (row.state, row.envelope) == (state, envelope)
            (scanned,) = await engine.scan("default", state)  # type: ignore[arg-type]
            assert scanned == row
        assert await engine.find("nothing") is None

    with_engine(driver, test)
