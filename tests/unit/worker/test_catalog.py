"""What the plugins declare, collected and checked."""

from typing import Any, TypeVar

import pytest

from skep.api.event import Event, Listener
from skep.api.plugin import Plugin
from skep.api.task import Task
from skep.base.backoff import Backoff
from skep.base.errors import PluginError
from skep.worker.catalog import Catalog


class Paid(Event):
    order: int


class Send(Task):
    async def handle(self, ctx: Any) -> None: ...


class OnPaid(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


class AlsoOnPaid(Listener[Paid], name="extra.OnPaid"):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


def test_everything_is_found_under_its_name() -> None:
    catalog = Catalog.collect({"shop": Plugin(tasks=[Send], listeners=[OnPaid])})
    assert catalog.tasks == {"test_catalog.Send": Send}
    assert catalog.events == {"test_catalog.Paid": Paid}
    assert catalog.listeners == {"test_catalog.Paid": (OnPaid,)}
    assert set(catalog.plugins) == {"shop"}


def test_listeners_stand_in_the_order_of_the_plugins_names_and_their_own() -> None:
    catalog = Catalog.collect(
        {"b": Plugin(listeners=[OnPaid]), "a": Plugin(events=[Paid], listeners=[AlsoOnPaid])}
    )
    assert catalog.listener_names() == {
        "test_catalog.Paid": ("extra.OnPaid", "test_catalog.OnPaid")
    }


def test_two_classes_of_one_name_are_refused() -> None:
    class Other(Task, name="test_catalog.Send"):
        async def handle(self, ctx: Any) -> None: ...

    with pytest.raises(PluginError, match="are both named") as caught:
        Catalog.collect({"a": Plugin(tasks=[Send]), "b": Plugin(tasks=[Other])})
    assert caught.value.plugin == "b"


def test_one_class_may_be_declared_twice() -> None:
    catalog = Catalog.collect({"a": Plugin(tasks=[Send]), "b": Plugin(tasks=[Send])})
    assert list(catalog.tasks) == ["test_catalog.Send"]


def _without_handle() -> Plugin:
    class Idle(Task):
        pass

    return Plugin(tasks=[Idle])


def _with_tries(tries: object) -> Plugin:
    class Trying(Send):
        pass

    Trying.tries = tries  # type: ignore[assignment]
    return Plugin(tasks=[Trying])


def _with_backoff() -> Plugin:
    class Waiting(Send):
        backoff = 5  # type: ignore[assignment]

    return Plugin(tasks=[Waiting])


def _with_queue() -> Plugin:
    class Queueing(Send):
        queue = None  # type: ignore[assignment]

    return Plugin(tasks=[Queueing])


def _with(**declared: Any) -> Plugin:
    class Declaring(Send):
        order: int = 1

    for name, value in declared.items():
        setattr(Declaring, name, value)
    return Plugin(tasks=[Declaring])


def _without_event() -> Plugin:
    E = TypeVar("E", bound=Event)

    class OnAnything(Listener[E]):
        async def handle(self, event: E, ctx: Any) -> None: ...

    return Plugin(listeners=[OnAnything])


@pytest.mark.parametrize(
    ("plugin", "sentence"),
    [
        (_without_handle(), "has no method handle"),
        (_with_tries(0), "has tries = 0"),
        (_with_tries("3"), "has tries = '3'"),
        (_with_backoff(), "has backoff = 5"),
        (_with(backoff=Backoff(first=-1)), "which must have numbers from 0 on"),
        (_with(backoff=Backoff(factor=float("nan"))), "which must have numbers from 0 on"),
        (_with(backoff=Backoff(first=1e12, cap=1e12)), "of which no wait may be above a hundred"),
        (_with_queue(), "has queue = None"),
        (_with(timeout=0), "has timeout = 0"),
        (_with(lost_tries=0), "has lost_tries = 0"),
        (_with(cut_tries=0), "has cut_tries = 0"),
        (_with(drain=-1), "has drain = -1"),
        (_with(drain=float("inf")), "has drain = inf"),
        (_with(drain="10m"), "has drain = '10m'"),
        (_with(retry_on=ValueError), "has retry_on = <class 'ValueError'>"),
        (_with(priority="high"), "has priority = 'high'"),
        (_with(unique="{nothing}"), "but no field `nothing`"),
        (_with(unique="{order"), "which is no template"),
        (_with(concurrency_key=5), "has concurrency_key = 5"),
        (_with(concurrency=0), "has concurrency = 0"),
        (_with(keep_result=-1), "has keep_result = -1"),
        (_without_event(), "does not say which event it listens to"),
    ],
)
def test_what_cannot_work_is_refused(plugin: Plugin, sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence) as caught:
        Catalog.collect({"shop": plugin})
    assert caught.value.plugin == "shop"
