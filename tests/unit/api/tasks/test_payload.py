"""What tasks and events have in common."""

import math
import warnings
from typing import Any

import pytest
from pydantic import ValidationError

from skep.api.naming import registered_name
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.payload import LARGEST_BODY
from skep.api.tasks.policy import Retry
from skep.api.tasks.task import Task
from skep.base.errors import EngineError
from skep.engine.ids import now_ms


class Send(Task):
    tries = 3
    queue = "mail"

    order: int
    name: str = ""


class Named(Send, name="letters.Send"):
    pass


class Paid(Event):
    order: int


def test_settings_of_a_class_are_no_fields_of_its_payload() -> None:
    assert set(Send.model_fields) == {"order", "name"}
    assert (Send.tries, Send.queue, Task.tries, Task.queue) == (3, "mail", 1, "default")


def test_a_payload_of_another_type_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValidationError, match="order"):
        Send(order="7")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="surprise"):
        Send(order=7, surprise=1)  # type: ignore[call-arg]


def test_a_payload_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Send(order=7).order = 8  # type: ignore[misc]


def test_a_payload_travels_as_json() -> None:
    envelope = Send(order=7, name="ä").envelope()
    assert (envelope.name, envelope.queue, envelope.due) == ("test_payload.Send", "mail", 0)
    assert Send.read(envelope.body) == Send(order=7, name="ä")


def test_a_payload_of_an_older_generation_may_have_a_field_more() -> None:
    assert Send.read(b'{"order": 7, "gone": true}') == Send(order=7)


def test_a_delay_is_rounded_up_so_that_nothing_is_early() -> None:
    before = now_ms()
    assert Send(order=7).envelope(delay=1.5).due >= before + 1500


@pytest.mark.parametrize("delay", [-1, math.nan, math.inf, 1e12])
def test_a_delay_that_is_none_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match="delay"):
        Send(order=7).envelope(delay=delay)
    with pytest.raises(ValueError, match="delay"):
        Retry(delay=delay)


def test_a_payload_too_large_for_a_queue_is_refused() -> None:
    with pytest.raises(EngineError, match="keep the data elsewhere"):
        Send(order=7, name="x" * LARGEST_BODY).envelope()


def test_a_class_is_named_after_its_plugin() -> None:
    def named(module: str) -> str:
        return registered_name(type("Thing", (), {"__module__": module}))

    assert named("plugins.orders") == "orders.Thing"
    assert named("plugins.orders.tasks.mail") == "orders.Thing"
    assert named("acme.tasks") == "tasks.Thing"
    assert named("plugins_of_mine") == "plugins_of_mine.Thing"


def test_a_name_can_be_given_and_is_not_inherited() -> None:
    class Below(Named):
        pass

    assert Named.registered_name() == "letters.Send"
    assert Below.registered_name() == "test_payload.Below"


@pytest.mark.parametrize("field", ["queue", "tries", "backoff", "deliver", "envelope"])
def test_a_field_that_hides_what_every_task_has_is_refused(field: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match=f"The field `{field}` of Clashing"):
            type("Clashing", (Task,), {"__annotations__": {field: int}, "__module__": __name__})


def test_a_listener_finds_its_event_in_the_brackets() -> None:
    class OnPaid(Listener[Paid], name="shop.OnPaid"):
        async def handle(self, event: Paid, ctx: Any) -> None: ...

    class Inherited(OnPaid):
        pass

    assert OnPaid.event is Inherited.event is Paid
    assert OnPaid.registered_name() == "shop.OnPaid"
    assert Inherited.registered_name() == "test_payload.Inherited"


def test_what_is_no_number_and_what_is_too_large_for_one_travel_as_they_are() -> None:
    class Measured(Task):
        value: float
        more: dict[str, Any]

    sent = Measured(value=math.inf, more={"values": [-math.inf]})
    assert Measured.read(sent.envelope().body) == sent
    sent = Measured(value=math.nan, more={"values": [math.nan]})
    read = Measured.read(sent.envelope().body)
    assert math.isnan(read.value)
    assert math.isnan(read.more["values"][0])
