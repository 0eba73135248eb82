"""A payload comes back as it was sent, or is refused where it is delivered."""

import datetime as dt
import enum
import math
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
)

from skep.api.plugin import Plugin
from skep.api.tasks.serialization import is_exact
from skep.api.tasks.task import Task
from skep.base.errors import DeclarationError, EngineError


class Color(enum.Enum):
    RED = "red"


class Level(enum.Enum):
    LOW = 1


class Weight(enum.Enum):
    HALF = 0.5


class Item(BaseModel):
    n: int


class Special(Item):
    extra: int = 2


class Shelf(BaseModel):
    item: Item = Field(alias="thing")

    model_config = ConfigDict(populate_by_name=True)


class Hidden(BaseModel):
    n: int = Field(0, exclude=True)


@dataclass
class Point:
    x: int


@dataclass
class Deep(Point):
    y: int = 0


DAY = dt.date(2026, 1, 2)
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def sending(kind: Any, **more: Any) -> Any:
    """Return a class of tasks with one field of this type."""

    async def handle(self: Task, ctx: object) -> None: ...

    namespace = {"__annotations__": {"value": kind}, "__module__": "plugins.shop"}
    return type("Send", (Task,), {**namespace, "handle": handle, **more})


# What comes back as it was, and whether the schema alone shows that.
KEPT: list[tuple[Any, Any, bool]] = [
    (str, "ä", True),
    (int, 2**70, True),
    (float, -0.0, True),
    (float, math.inf, True),
    (bool, True, True),
    (bytes, b"abc", True),
    (Decimal, Decimal("1.10"), False),
    (uuid.UUID, uuid.UUID(int=5), True),
    (dt.date, DAY, True),
    (dt.datetime, MOMENT, True),
    (dt.time, dt.time(1, 2, 3, 4), True),
    (dt.timedelta, -dt.timedelta(days=3, microseconds=7), True),
    (str | None, None, True),
    (Color, Color.RED, True),
    (Level, Level.LOW, True),
    (Literal["a", "b"], "a", True),
    (list[dict[str, int | None]], [{"a": 1, "b": None}], True),
    (tuple[int, str], (1, "a"), True),
    (tuple[int, ...], (1, 2), True),
    (frozenset[str], frozenset("ab"), True),
    (dict[int, str], {1: "a"}, True),
    (dict[uuid.UUID, int], {uuid.UUID(int=5): 1}, True),
    (dict[dt.date, int], {DAY: 1}, False),
    (dict[Color, str], {Color.RED: "a"}, False),
    (Weight, Weight.HALF, False),
    (Item, Item(n=1), False),
    (Shelf, Shelf(item=Item(n=1)), False),
    (list[Item], [Item(n=1), Item(n=2)], False),
    (Point, Point(1), False),
    (Any, {"a": [1, None, "x", 1.5]}, False),
    (Any, math.nan, False),
    (dt.date | str, DAY, False),
    (dt.date | str, "tomorrow", False),
    (int | str, "1", False),
    (dt.date | dt.datetime, MOMENT, False),
]


@pytest.mark.parametrize(("kind", "value", "exact"), KEPT)
def test_what_json_carries_comes_back_equal(kind: Any, value: Any, exact: bool) -> None:
    cls: Any = sending(kind)
    assert is_exact(cls) is exact
    back = cls.read(cls(value=value).envelope().body).value
    assert type(back) is type(value)
    assert back == value or math.isnan(value)


LOST: list[tuple[Any, Any, str]] = [
    (Item, Special(n=1), "value is a Special and would be a Item"),
    (list[Item], [Item(n=1), Special(n=2)], r"value\[1\] is a Special and would be a Item"),
    (Point, Deep(1), "value is a Deep and would be a Point"),
    (Hidden, Hidden(n=5), "value.n is a int and would be a int with other content"),
    (Any, DAY, "value is a date and would be a str"),
    (Any, b"x", "value is a bytes and would be a str"),
    (Any, (1, 2), "value is a tuple and would be a list"),
    (Any, {"a": {"b": {1}}}, r"value\['a'\]\['b'\] is a set and would be a list"),
    (Any, Color.RED, "value is a Color and would be a str"),
    (Any, SecretStr("x"), "value is a SecretStr and would be a str"),
    (dict[Any, int], {1: 1}, "a key of value is a int and would be a str"),
    (dict[str | None, int], {None: 1}, "a key of value is a NoneType and would be a str"),
    (dict[tuple[int, int], str], {(1, 2): "x"}, "could not be read again from JSON: value"),
    (dict[Level, str], {Level.LOW: "x"}, "could not be read again from JSON: value"),
    (dt.date | str, "2026-01-02", "value is a str and would be a date"),
    (Annotated[str, AfterValidator(lambda text: text + "!")], "a", "value is a str and would be"),
]


@pytest.mark.parametrize(("kind", "value", "sentence"), LOST)
def test_what_json_changes_is_refused_where_it_is_delivered(
    kind: Any, value: Any, sentence: str
) -> None:
    """A5: it was changed silently, or became a dead letter `undecodable`."""
    with pytest.raises(EngineError, match=sentence) as caught:
        sending(kind)(value=value).envelope()
    assert str(caught.value).startswith("shop.Send ")


def test_fields_with_aliases_travel_by_their_names() -> None:
    choices = AliasChoices("first", "second")
    for alias in ({"alias": "w"}, {"validation_alias": choices}, {"serialization_alias": "s"}):
        cls: Any = sending(int, value=Field(**alias))
        sent = cls(value=5)
        assert cls.read(sent.envelope().body) == sent
    cls = sending(int, value=Field(alias="w"))
    assert cls(w=5) == cls(value=5)


def test_a_serializer_that_loses_something_is_refused() -> None:
    class Rounding(Task):
        value: float

        @field_serializer("value")
        def rounded(self, value: float) -> int:
            return int(value)

    assert Rounding.read(Rounding(value=2.0).envelope().body).value == 2.0
    with pytest.raises(EngineError, match="value is a float and would be a float with other"):
        Rounding(value=2.5).envelope()


def test_what_was_put_into_a_payload_past_its_check_is_refused() -> None:
    cls = sending(list[int])
    sent: Any = cls(value=[1])
    sent.value.append("two")
    with pytest.raises(EngineError, match="cannot travel as JSON"):
        sent.envelope()
    with pytest.raises(EngineError, match="cannot travel as JSON"):
        sending(int)(value=1).model_copy(update={"value": "1"}).envelope()


def test_a_default_that_does_not_fit_its_field_is_refused() -> None:
    with pytest.raises(EngineError):
        sending(int, value="five")().envelope()
    assert is_exact(sending(str | None, value=None))
    assert is_exact(sending(list[int], value=[]))


def test_what_a_payload_keeps_beside_its_fields_does_not_count() -> None:
    class Keeping(Task):
        value: Any
        _lock: Any = PrivateAttr(default_factory=object)

    Keeping(value=[1]).envelope()


@pytest.mark.parametrize(
    ("kind", "more", "sentence"),
    [
        (int, {"value": Field(5, exclude=True)}, "field `value` with exclude=True"),
        (SecretStr, {}, "field `value` that holds a secret"),
        (dict[str, SecretStr | None], {}, "field `value` that holds a secret"),
    ],
)
def test_what_can_never_come_back_is_refused_at_load(
    kind: Any, more: dict[str, Any], sentence: str
) -> None:
    """A5: by the declaration, so that the platform does not start with it."""
    with pytest.raises(DeclarationError, match=sentence):
        Plugin(tasks=[sending(kind, **more)])
