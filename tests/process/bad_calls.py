"""Public calls, and values that most of them cannot take."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import strategies as st

from skep.api.tasks.event import Event
from skep.api.tasks.payload import Receipt
from skep.api.tasks.policy import Retry
from skep.api.tasks.task import Task, gather
from skep.base.errors import PlatformError
from skep.engine import binding
from skep.engine.contract import Envelope, Lease, QueueLimits, Settlement
from skep.engine.ids import new_id

DOCUMENTED = (ValueError, TypeError, PlatformError, TimeoutError)
EDGES: list[Any] = [
    *(None, 7, "\udc80", b"\xff"),
    *(-1, -0.001, 2**31, 2**40, 2**53 + 1, 2**63, 2**64),
    *(1e300, math.inf, -math.inf, math.nan),
]
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(EDGES),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.binary(max_size=8),
)
VALUES = st.one_of(
    _SCALARS,
    st.lists(_SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=3), _SCALARS, max_size=2),
)
Call = Callable[[Any, Any], Awaitable[object]]


class Work(Task):
    name: str = "work"
    unique_for = 1.0
    concurrency_key = "{name}"

    async def handle(self, ctx: object) -> None: ...


class Happened(Event):
    pass


def declared(term: str) -> Call:
    """Deliver a task whose class declares the value as one of its terms."""

    async def call(value: Any, other: Any) -> object:
        cls: Any = type("Declared", (Work,), {term: value, "__module__": __name__})
        return await cls().deliver(key=new_id())

    return call


def said(term: str) -> Call:
    return lambda value, other: Work().deliver(**{term: value})


def fired(term: str) -> Call:
    return lambda value, other: Happened().fire(**{term: value})


def engine() -> Any:
    return binding.current().engine


async def retry(value: Any, other: Any) -> object:
    return Retry(value)


def an_envelope(**fields: Any) -> Envelope:
    return Envelope(**{"id": new_id(), "name": "bad.Work", "body": b"{}", **fields})


def put(field: str) -> Call:
    return lambda value, other: engine().put([an_envelope(**{field: value})])


def a_settlement(**fields: Any) -> Settlement:
    lease = Lease(an_envelope(), "7-7", 1, 0, 0)
    return Settlement(**{"lease": lease, "verdict": "retry", **fields})


CALLS: dict[str, Call] = {
    "Receipt(v).result()": lambda v, w: Receipt(v).result(),
    "Receipt(id).result(v)": lambda v, w: Receipt("id").result(v),
    "Receipt(v).result(w)": lambda v, w: Receipt(v).result(w),
    "Receipt(v).cancel()": lambda v, w: Receipt(v).cancel(),
    "gather(v)": lambda v, w: gather(v),
    "gather(task, timeout=v)": lambda v, w: gather(Work(), timeout=v),
    "deliver_many([v])": lambda v, w: Task.deliver_many([v]),
    "Retry(v)": retry,
    **{
        f"class with {term} = v": declared(term)
        for term in ("concurrency", "unique_for", "keep_result", "queue", "priority")
    },
    **{f"deliver({t}=v)": said(t) for t in ("delay", "tries", "priority", "queue", "key")},
    **{f"fire({t}=v)": fired(t) for t in ("delay", "tries", "priority", "queue")},
    **{f"put({field}=v)": put(field) for field in Envelope.__struct_fields__},
    "put(v)": lambda v, w: engine().put(v),
    "settle(v)": lambda v, w: engine().settle([a_settlement(verdict=v)]),
    "settle(at=v)": lambda v, w: engine().settle([a_settlement(at=v)]),
    "settle(error=v)": lambda v, w: engine().settle([a_settlement(error=v or "")]),
    "hold(v, w)": lambda v, w: engine().hold(v, w),
    "hold(name, v)": lambda v, w: engine().hold("name", v),
    "scan(v)": lambda v, w: engine().scan("default", "ready", "", v),
    "scan(after=v)": lambda v, w: engine().scan("default", "ready", v, 3),
    "find(v)": lambda v, w: engine().find(v),
    "edit(v, w)": lambda v, w: engine().edit([v], w),
    "pause(v)": lambda v, w: engine().pause([v], w),
    "configure(v)": lambda v, w: engine().configure({"q": QueueLimits(max_ready=v, period=w)}),
    "reap(v)": lambda v, w: engine().reap(v),
}
