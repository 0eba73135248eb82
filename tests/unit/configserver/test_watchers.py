import asyncio

import pytest

from skep.configserver.model.names import Address
from skep.configserver.model.releases import Notification
from skep.configserver.reading.watchers import Watchers

ONE, TWO = Address("app", "default", "one"), Address("app", "default", "two")


def test_all_who_watch_an_address_are_woken_and_nobody_else() -> None:
    async def scenario() -> None:
        watchers = Watchers()
        with (
            watchers.waiting([ONE]) as a,
            watchers.waiting([ONE, TWO]) as b,
            watchers.waiting([TWO]) as c,
        ):
            assert watchers.held == 3
            assert watchers.wake(Notification(7, ONE)) == 2
            assert [await a, await b] == [Notification(7, ONE)] * 2
            assert not c.done()

    asyncio.run(scenario())


def test_the_case_of_names_does_not_matter() -> None:
    async def scenario() -> None:
        watchers = Watchers()
        with watchers.waiting([Address("APP", "Default", "One")]) as waiter:
            assert watchers.wake(Notification(1, ONE)) == 1
            assert (await waiter) == Notification(1, ONE)

    asyncio.run(scenario())


def test_of_two_notifications_in_one_turn_the_first_is_given() -> None:
    async def scenario() -> None:
        watchers = Watchers()
        with watchers.waiting([ONE, TWO]) as waiter:
            assert [watchers.wake(Notification(n, at)) for n, at in ((1, ONE), (2, TWO))] == [1, 0]
            assert (await waiter) == Notification(1, ONE)

    asyncio.run(scenario())


def test_who_leaves_by_whatever_way_is_forgotten() -> None:
    async def scenario() -> None:
        watchers = Watchers()

        async def wait() -> None:
            # The same address in two spellings is one to leave.
            with watchers.waiting([ONE, ONE._replace(app_id="APP"), TWO]) as waiter:
                await waiter

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert watchers.held == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert watchers.held == 0
        assert watchers.wake(Notification(1, ONE)) == 0

    asyncio.run(scenario())


def test_closing_lets_everybody_go_who_waits_or_comes_later() -> None:
    async def scenario() -> None:
        watchers = Watchers()
        with watchers.waiting([ONE]) as before, watchers.waiting([TWO]) as woken:
            watchers.wake(Notification(1, TWO))
            watchers.close()
            assert (await before) is None
            assert (await woken) == Notification(1, TWO)
        with watchers.waiting([ONE]) as after:
            assert (await after) is None

    asyncio.run(scenario())
