"""What an envelope asks for, and what follows from it."""

import json
from typing import Any

import pytest
from pydantic import field_validator

from skep.api.plugin import Plugin
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.task import Task
from skep.engine.contract import Envelope, Lease
from skep.worker.loading.catalog import Catalog
from skep.worker.tasks.steps import InvalidResult, Step, Undecodable, Unknown, decode


class Plain(Task):
    n: int

    async def handle(self, ctx: Any) -> None: ...


class Whole(Plain):
    tries = 4

    async def finish(self, result: Any, ctx: Any) -> Any:
        return result, self.n

    async def failed(self, error: str, ctx: Any) -> Any:
        return error, self.n


class Fussy(Plain):
    @field_validator("n")
    @classmethod
    def never(cls, value: int) -> int:
        raise OSError("the database is away")


class Paid(Event):
    order: int


class First(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


class Broken(Listener[Paid]):
    def __init__(self) -> None:
        raise OSError("the database is away")

    def handle(self, event: Paid, ctx: Any) -> None: ...


class Last(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


CATALOG = Catalog.collect(
    {"shop": Plugin(tasks=[Plain, Whole, Fussy], listeners=[First, Broken, Last])}
)


def step_of(name: str, body: bytes = b'{"n": 7}', attempt: int = 1, **headers: str) -> Step:
    envelope = Envelope("id-1", f"test_steps.{name}", body, "mail", headers, due=5, priority=2)
    return decode(Lease(envelope, "1-1", attempt, 0, 0), CATALOG)


def step_of_event(listener: str, attempt: int = 1) -> Step:
    return step_of("Paid", b'{"order": 7}', attempt, listener=f"test_steps.{listener}")


def test_a_task_without_more_is_followed_by_nothing() -> None:
    step = step_of("Plain")
    assert (step.name, step.policy.tries) == ("test_steps.Plain", 1)
    assert (step.on_return(object()), step.on_death("boom"), step.regardless) == ((), (), ())


def test_handle_is_followed_by_finish_with_its_result() -> None:
    (follow,) = step_of("Whole").on_return({"a": [1, None]})
    assert follow.id != "id-1"
    assert (follow.name, follow.body, follow.queue) == ("test_steps.Whole", b'{"n": 7}', "mail")
    assert (follow.due, follow.priority) == (0, 2)
    assert follow.headers == {"origin": "id-1", "step": "finish", "result": '{"a": [1, null]}'}


def test_the_last_failure_is_followed_by_failed_with_its_error() -> None:
    (follow,) = step_of("Whole").on_death("boom")
    assert follow.headers == {"origin": "id-1", "step": "failed", "error": "boom"}


def test_what_follows_keeps_the_origin_and_is_followed_by_nothing() -> None:
    finish = step_of("Whole", origin="id-0", step="finish", result="5")
    assert (finish.name, finish.policy.tries) == ("test_steps.Whole.finish", 4)
    assert (finish.on_return(1), finish.on_death("boom")) == ((), ())
    (follow,) = step_of("Whole", origin="id-0").on_return(1)
    assert follow.headers["origin"] == "id-0"


def test_a_step_that_a_new_generation_has_not_any_more_is_unknown() -> None:
    with pytest.raises(Unknown, match=r"test_steps\.Plain\.finish"):
        step_of("Plain", step="finish", result="5")


@pytest.mark.parametrize("result", [object(), float("nan"), {1: set()}, "x" * 2**20])
def test_what_cannot_be_kept_for_finish_is_refused(result: object) -> None:
    with pytest.raises(InvalidResult, match=r"handle\(\) of test_steps\.Whole returned"):
        step_of("Whole").on_return(result)


def test_a_listener_is_followed_by_the_next_whatever_it_does_but_return_false() -> None:
    step = step_of_event("First")
    assert (step.name, step.event) == ("test_steps.First", "test_steps.Paid")
    assert step.following == ("test_steps.Broken", "test_steps.Last")
    (follow,) = step.on_return(None)
    fired = f"{step.fired}"
    assert follow.headers == {"origin": "id-1", "listener": "test_steps.Broken", "fired": fired}
    assert (step.regardless, step.on_death("boom")) == ((follow,), ())
    assert step.on_return(False) == ()


def test_the_last_listener_is_followed_by_nothing() -> None:
    step = step_of_event("Last")
    assert (step.on_return(None), step.regardless) == ((), ())


def test_a_listener_tried_again_is_alone_for_the_next_have_gone_on() -> None:
    step = step_of_event("First", attempt=2)
    assert (step.on_return(None), step.regardless, step.following) == ((), (), ())


def test_a_listener_that_cannot_be_made_fails_when_it_is_called() -> None:
    step = step_of_event("Broken")
    with pytest.raises(OSError, match="away"):
        step.handler(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Nothing", "Paid"])
def test_a_name_nobody_has_is_unknown(name: str) -> None:
    with pytest.raises(Unknown, match=rf"a task test_steps\.{name}"):
        step_of(name)
    with pytest.raises(Unknown, match=r"listener test_steps\.Nobody"):
        step_of_event("Nobody")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Plain", b""),
        ("Plain", b'{"n": "7"}'),
        ("Plain", json.dumps({"m": 7}).encode()),
        ("Plain", b"\x80\x04]."),
        ("Fussy", b'{"n": 7}'),
    ],
)
def test_a_payload_that_does_not_fit_is_undecodable(name: str, body: bytes) -> None:
    with pytest.raises(Undecodable, match=f"not one of test_steps.{name}"):
        step_of(name, body)
