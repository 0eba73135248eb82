"""Tasks and listeners that are functions."""

from typing import Any

import pytest
from pydantic import ValidationError

from skep.api.tasks.context import Context
from skep.api.tasks.decorators import on, task
from skep.api.tasks.event import Event
from skep.api.tasks.task import Task
from skep.base.backoff import Backoff


class Paid(Event):
    order_id: int


@task(queue="mail", tries=5, timeout=30, priority=2, backoff=Backoff(first=2.0))
async def send_mail(ctx: Context, to: str, subject: str = "hello") -> str:
    """Send a mail."""
    return f"{to}: {subject}"


@task(name="letters.plain")
def plain(ctx: Context, *, n: int) -> int:
    return n


@on(Paid, order=50, tries=3)
def note(event: Paid, ctx: Context) -> None:
    """Write it down."""


def test_a_function_becomes_a_class_with_its_parameters_as_payload() -> None:
    cls = send_mail.cls
    assert issubclass(cls, Task)
    assert cls.registered_name() == "test_decorators.send_mail"
    assert (cls.queue, cls.tries, cls.timeout, cls.priority) == ("mail", 5, 30, 2)
    assert cls.__doc__ == "Send a mail."
    made = send_mail("bee@example.org")
    assert made.model_dump() == {"to": "bee@example.org", "subject": "hello"}
    assert cls.read(made.envelope().body) == made
    assert plain.cls.registered_name() == "letters.plain"


def test_wrong_arguments_are_refused_when_the_task_is_made() -> None:
    with pytest.raises(ValidationError, match="to"):
        send_mail(to=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        plain()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="surprise"):
        plain(n=1, surprise=2)  # type: ignore[call-arg]


def test_a_function_becomes_a_listener() -> None:
    assert (note.event, note.order, note.tries) == (Paid, 50, 3)
    assert note.registered_name() == "test_decorators.note"


def _without_context() -> Any:
    return task()(lambda: None)  # type: ignore[arg-type, misc]


def _without_type() -> Any:
    def handle(ctx: Context, to) -> None: ...  # type: ignore[no-untyped-def]

    return task()(handle)


def _with_star() -> Any:
    def handle(ctx: Context, *to: str) -> None: ...

    return task()(handle)


def _with_a_field_that_hides() -> Any:
    def handle(ctx: Context, tries: int) -> None: ...

    return task()(handle)


@pytest.mark.filterwarnings("ignore:Field name")
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_without_context, "first parameter must be `ctx`"),
        (_without_type, "The parameter `to` of .*_without_type.* needs a type"),
        (_with_star, r"The parameter \*to: str of .* cannot be a field"),
        (_with_a_field_that_hides, "The field `tries` of handle hides"),
        (lambda: task(retries=3)(len), "`retries` cannot be declared"),  # type: ignore[call-overload]
        (lambda: on(Paid, queue="x")(len), "`queue` cannot be declared"),  # type: ignore[call-arg, arg-type]
    ],
)
def test_what_cannot_be_a_task_is_refused_with_a_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        make()


@pytest.mark.parametrize("payload", ["int", "Guest"])
def test_types_that_exist_for_type_checkers_only(payload: str) -> None:
    """A3: the context and the result may have such types, as linters want it; a payload may not."""
    text = (
        "from __future__ import annotations\n"
        f"async def greet(ctx: Context, who: {payload}) -> Answer: ..."
    )
    namespace: dict[str, Any] = {"__name__": "plugins.greeting"}
    exec(compile(text, "greeting.py", "exec", dont_inherit=True), namespace)
    if payload == "int":
        assert task(namespace["greet"])(who=1).model_dump() == {"who": 1}
    else:
        with pytest.raises(TypeError, match="'Guest' is not defined"):
            task(namespace["greet"])
