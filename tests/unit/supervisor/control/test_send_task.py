"""What is delivered by hand: by one worker; what it does not answer is told as it is."""

import asyncio
from typing import Any

import pytest

from skep.supervisor.control.send_task import SendTask
from skep.supervisor.control.server import CommandRefused
from skep.supervisor.processes.child import Child
from skep.wire.channel import BlockingChannel
from skep.wire.messages import Deliver, Delivered
from tests.unit.supervisor.observers.test_platform_events import Office, in_an_office


def delivering(office: Office) -> SendTask:
    return SendTask(office.news._current, office.questions)


async def asked(channel: BlockingChannel) -> Deliver:
    message, _ = await asyncio.to_thread(channel.receive)
    assert isinstance(message, Deliver)
    return message


def test_a_web_worker_delivers_and_its_answer_is_that_of_the_command() -> None:
    async def test(office: Office) -> None:
        desk = delivering(office)
        office.worker("task.0")
        child, web = office.worker("web.0")
        question = {"task": "orders.Send", "values": ["7"], "terms": {"delay": 1.0}}
        sending = asyncio.create_task(desk.task(question))
        order = await asked(web)
        assert (order.what, order.name) == ("task", "orders.Send")
        assert (order.values, order.terms) == (["7"], {"delay": 1.0})
        office.children.take(child, Delivered(order.number + 1, "other"))
        office.children.take(child, Delivered(order.number, "id"))
        assert await sending == {"id": "id", "duplicate": False}
        # And a refusal is one
        sending = asyncio.create_task(desk.task(question))
        order = await asked(web)
        office.children.take(
            child, Delivered(order.number, refusal="It does not fit.", code="usage")
        )
        with pytest.raises(CommandRefused, match="does not fit") as caught:
            await sending
        assert caught.value.code == "usage"
        # And an event goes the same way
        fire = desk.event
        firing = asyncio.ensure_future(fire({"event": "orders.Paid", "values": ["7"]}))
        order = await asked(web)
        assert (order.what, order.name, order.values) == ("event", "orders.Paid", ["7"])
        office.children.take(child, Delivered(order.number))
        assert await firing == {"id": "", "duplicate": False}

    in_an_office(test)


def test_nobody_knows_whether_a_worker_that_ended_had_delivered() -> None:
    async def test(office: Office) -> None:
        desk = delivering(office)
        nothing: dict[str, Any] = {"task": "orders.Send"}
        with pytest.raises(CommandRefused, match="No worker accepts"):
            await desk.task(nothing)
        child, web = office.worker("web.0")
        assert isinstance(child, Child)
        sending = asyncio.create_task(desk.task(nothing))
        await asked(web)
        office.ended(child)
        with pytest.raises(
            CommandRefused, match="has ended: whether it was delivered is not known"
        ):
            await sending

    in_an_office(test)
