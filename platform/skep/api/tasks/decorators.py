"""Tasks and listeners out of plain functions: what a class says, said by a decorator.

@task(queue="mail", tries=5, timeout=30)
async def send_mail(ctx, to: str, subject: str = ""): ...

@send_mail.finish
async def sent(result, ctx): ...

await send_mail.deliver(to="a@example.org")
await send_mail(to="a@example.org").deliver(delay=10)

@on(OrderPaid, order=50)
async def note(event, ctx): ...
"""

import inspect
from collections.abc import Callable, Sequence
from inspect import Parameter, isclass, iscoroutinefunction
from types import SimpleNamespace, new_class
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypedDict,
    TypeVar,
    Unpack,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import create_model

from skep.api.callables import call_problem, generator_problem, named_thing
from skep.api.tasks.context import Context
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.payload import Receipt
from skep.api.tasks.policy import Errors
from skep.api.tasks.task import Task
from skep.base.backoff import Backoff

P = ParamSpec("P")
E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Callable[..., Any])

# Where the types are that a payload is made of, and a context is not.
_OF_PAYLOADS = ("builtins", "datetime", "decimal", "uuid")


class Attempts(TypedDict, total=False):
    """What a decorator takes for tasks and listeners alike; see `Task` for the meaning."""

    name: str
    tries: int
    backoff: Backoff
    timeout: float | None
    retry_on: Errors
    drop_on: Errors
    lost_tries: int
    drain: float | None
    cut_tries: int | None


class Declared(Attempts, total=False):
    """What the decorator of a task takes."""

    queue: str
    priority: int
    unique: str
    unique_for: float
    concurrency_key: str
    concurrency: int
    keep_result: float


class FunctionTask(Generic[P]):
    """A task that was a function; `cls` is the class that was made of it, `function` what it was.

    Called with the function's arguments but `ctx` it makes a task, which is checked there and then.
    """

    def __init__(
        self, function: Callable[Concatenate[Context, P], Any], declared: Declared
    ) -> None:
        self.function = function
        self._parameters = _payload_of(function)
        self.cls = _task_class(function, self._parameters, declared)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Task:
        """Make a task. Raises TypeError or pydantic's ValidationError for wrong arguments."""
        return self.cls(**self._parameters.bind(*args, **kwargs).arguments)

    async def deliver(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Make a task and deliver it; for a delay and the like, call `deliver` of what is made."""
        return await self(*args, **kwargs).deliver()

    def deliver_sync(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Do what `deliver` does, from a thread."""
        return self(*args, **kwargs).deliver_sync()

    def finish(self, function: F) -> F:
        """Decorate what is called with `(result, ctx)` after the task has succeeded."""
        _must_take(function, ("result", "ctx"))
        setattr(self.cls, "finish", staticmethod(function))  # noqa: B010
        return function

    def failed(self, function: F) -> F:
        """Decorate what is called with `(error, ctx)` after the task was given up."""
        _must_take(function, ("error", "ctx"))
        setattr(self.cls, "failed", staticmethod(function))  # noqa: B010
        return function


@overload
def task(function: Callable[Concatenate[Context, P], Any], /) -> FunctionTask[P]: ...


@overload
def task(
    **declared: Unpack[Declared],
) -> Callable[[Callable[Concatenate[Context, P], Any]], FunctionTask[P]]: ...


def task(
    function: Callable[..., Any] | None = None, /, **declared: Unpack[Declared]
) -> FunctionTask[...] | Callable[[Callable[..., Any]], FunctionTask[...]]:
    """Make a task of a function whose first parameter is the context; the others, which need type
    annotations, are the payload. `@task` alone takes the defaults.

    Raises TypeError when the function cannot be one.
    """
    if function is None:
        return lambda function: FunctionTask(function, declared)
    return FunctionTask(function, declared)


def on(
    event: type[E], *, order: int = 0, **declared: Unpack[Attempts]
) -> Callable[[Callable[[E, Context], Any]], type[Listener[E]]]:
    """Make a listener of a function of `(event, ctx)`.

    Raises TypeError when the function cannot be one.
    """
    if not (isclass(event) and issubclass(event, Event)):
        called = getattr(event, "__qualname__", repr(event))
        raise TypeError(f"@on takes the class of an event, as in @on(OrderPaid), and not {called}.")

    def decorate(function: Callable[[E, Context], Any]) -> type[Listener[E]]:
        terms = _terms(declared, Attempts.__optional_keys__)
        _must_take(function, ("event", "ctx"))
        named = named_thing(function)
        body = {
            **terms,
            "__module__": named.__module__,
            "__doc__": function.__doc__,
            "event": event,
            "order": order,
            "handle": staticmethod(function),
        }
        name = declared.get("name", "")
        return new_class(named.__name__, (Listener,), {"name": name}, lambda ns: ns.update(body))

    return decorate


def _must_take(function: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    if problem := call_problem(function, arguments):
        raise TypeError(f"{_called(function)} {problem}.")


def _payload_of(function: Callable[..., Any]) -> inspect.Signature:
    if problem := generator_problem(function):
        raise TypeError(f"{_called(function)} {problem}.")
    parameters = [*inspect.signature(function).parameters.values()]
    others = parameters[1:]
    for parameter in others:
        if _resolved(function, parameter) is Context:
            raise TypeError(
                f"The parameter `{parameter.name}` of {_called(function)} is the context: it must "
                "be the first parameter."
            )
    if not parameters or not _is_context(function, parameters[0]):
        raise TypeError(f"{_called(function)} takes no context: its first parameter must be `ctx`.")
    for parameter in others:
        if parameter.kind not in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            raise TypeError(
                f"The parameter {parameter} of {_called(function)} cannot be a field of a payload."
            )
        if parameter.annotation is Parameter.empty:
            raise TypeError(
                f"The parameter `{parameter.name}` of {_called(function)} needs a type: "
                "what is delivered is checked against it."
            )
    return inspect.Signature(others)


def _is_context(function: Callable[..., Any], first: Parameter) -> bool:
    """Return whether the first parameter can take the context. One of a type of Python's own, as in
    `def send(to: str)`, was meant for the payload."""
    if first.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        return False
    annotation = _resolved(function, first)
    kind = get_origin(annotation) or annotation
    return kind is object or not (isclass(kind) and kind.__module__ in _OF_PAYLOADS)


def _resolved(function: Callable[..., Any], parameter: Parameter) -> Any:
    """Return the type of a parameter, Any if it exists for type checkers only."""
    try:
        return _types(function, [parameter])[parameter.name]
    except Exception:  # noqa: BLE001 - an annotation may be any expression
        return Any


def _types(function: Callable[..., Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the types of these parameters alone: the others, the context among them, may have
    names that exist for type checkers only."""
    names = getattr(inspect.unwrap(named_thing(function)), "__globals__", {})
    given = {p.name: p.annotation for p in parameters if p.annotation is not Parameter.empty}
    return get_type_hints(SimpleNamespace(__annotations__=given), names, include_extras=True)


def _task_class(
    function: Callable[..., Any], parameters: inspect.Signature, declared: Declared
) -> type[Task]:
    try:
        types = _types(function, [*parameters.parameters.values()])
    except NameError as error:
        raise TypeError(
            f"The types of the parameters of {_called(function)} are needed when the plugin is "
            f"loaded: {error}. Import it outside of `if TYPE_CHECKING`."
        ) from error
    fields: Any = {
        name: (types[name], ... if p.default is Parameter.empty else p.default)
        for name, p in parameters.parameters.items()
    }
    terms = _terms(declared, Declared.__optional_keys__)
    made = create_model(
        function.__name__,
        __base__=Task,
        __module__=function.__module__,
        __doc__=function.__doc__,
        __cls_kwargs__={"name": declared.get("name", "")},
        **fields,
    )
    for term, value in terms.items():
        setattr(made, term, value)
    setattr(made, "handle", _handler(function))  # noqa: B010
    return made


def _handler(function: Callable[..., Any]) -> Callable[..., Any]:
    async def handle_async(self: Task, ctx: Context) -> Any:
        return await function(ctx, **_fields(self))

    def handle_plain(self: Task, ctx: Context) -> Any:
        return function(ctx, **_fields(self))

    handler: Any = handle_async if iscoroutinefunction(function) else handle_plain
    handler.written = function  # whose annotations count
    return handler  # type: ignore[no-any-return]


def _fields(made: Task) -> dict[str, Any]:
    return {name: getattr(made, name) for name in type(made).model_fields}


def _terms(declared: Any, known: frozenset[str]) -> dict[str, Any]:
    """Return what becomes attributes of the class. Raises TypeError for an unknown option."""
    if unknown := declared.keys() - known:
        raise TypeError(f"`{min(unknown)}` cannot be declared; one of {', '.join(sorted(known))}.")
    return {term: value for term, value in declared.items() if term != "name"}


def _called(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}.{name}"
