"""What each field of `Plugin` takes, and the sentence for what it does not take."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict, TypeVar

import pytest
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Host, Mount, Route, WebSocketRoute

from skep.api.checks.fields import FIELDS
from skep.api.cron import CronJob, Tick, cron
from skep.api.hooks import Hooks
from skep.api.plugin import Plugin
from skep.api.sockets.framing import Lines
from skep.api.sockets.handlers import TcpHandler, UdpHandler
from skep.api.sockets.listeners import HttpListener, TcpListener, UdpListener
from skep.api.sockets.websocket import WebSocketHandler
from skep.api.tasks.context import Context
from skep.api.tasks.decorators import on, task
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.task import Task
from skep.base.backoff import Backoff
from skep.base.errors import DeclarationError, PluginError
from skep.config.env.settings import Settings


class Keys(Settings):
    password: str = "hunter2"


class Paid(Event):
    order: int


class Send(Task):
    order: int = 1

    async def handle(self, ctx: Any) -> None: ...


class OnPaid(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


class Beat(CronJob):
    every = "1s"

    async def run(self, tick: Tick) -> None: ...


class Echo(TcpHandler):
    async def on_receive(self, connection: Any, frame: bytes) -> None: ...


class Packets(UdpHandler):
    async def on_packet(self, packet: Any) -> None: ...


class Chat(WebSocketHandler):
    async def on_message(self, connection: Any, message: str | bytes) -> None: ...


class Page(HTTPEndpoint): ...


@task
async def mail(ctx: Any, to: str) -> None: ...


@on(Paid)
def note(event: Paid, ctx: Any) -> None: ...


@cron(every="1s")
def sweep(tick: Tick) -> None: ...


async def index(request: Any) -> None: ...


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as authors write them: what it returns is a plain function of anything."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


class WithHandlerOf(Task):
    handle: ClassVar[Any] = plainly(Send.handle)


class WithPartialHandler(Send):
    async def work(self, ctx: Any, n: int) -> None: ...

    handle: ClassVar[Any] = functools.partialmethod(work, n=5)


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    yield


@contextlib.asynccontextmanager
async def starlettes(app: Any) -> AsyncIterator[dict[str, int]]:
    yield {}


class Service:
    """What hands over its methods, as a plugin with classes of its own does."""

    @contextlib.asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def lives_in(self, app: Any) -> AsyncIterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def __call__(self, app: Any, dsn: str = "") -> AsyncIterator[None]:
        yield

    async def run(self, *_: Any) -> None: ...


class OtherFrameworks:
    """An application that calls something else `routes`."""

    def routes(self) -> None: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class OwnWords(Listener[Paid]):
    """An attribute of the author's that is nearly one of the platform's, and that is read."""

    orders = 5

    async def handle(self, event: Paid, ctx: Any) -> None:
        [self.orders for _ in range(1)]


class Car(Send):
    tires: ClassVar[int] = 4

    @property
    def wheels(self) -> int:
        return self.tires + 1


class Life:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def on_worker(info: Any) -> None: ...


def test_the_table_has_a_row_for_every_field() -> None:
    assert list(FIELDS) == [field.name for field in fields(Plugin)]


@pytest.mark.parametrize(
    "declared",
    [
        {
            "routes": [
                Route("/", index),
                Route("/page", Page),
                Route("/partial", functools.partial(index)),
                Route("/decorated", plainly(index)),
                WebSocketRoute("/chat", Chat),
                Mount("/sub", routes=[Route("/", index)]),
                Mount("/app", app),
                Host("a.example", app),
                Mount("/other", app=OtherFrameworks()),
            ]
        },
        {"mounts": {"/": app, "": app, "/chat": Chat}},
        {"middleware": (Middleware(GZipMiddleware, minimum_size=5),)},
        {"global_middleware": [Middleware(GZipMiddleware)]},
        {"request_received": [index], "response_generated": [lambda request, head: None]},
        {"cleaners": [dict, plainly(index)]},
        {
            "tasks": [Send, mail, WithHandlerOf, WithPartialHandler],
            "events": (Paid,),
            "listeners": [OnPaid, note],
        },
        {"crons": [Beat, sweep]},
        {"crons": [Beat(), sweep]},
        {"sockets": [TcpListener(Echo), UdpListener(Packets), HttpListener(app)]},
        {"sockets": [HttpListener([Route("/", index)]), TcpListener(Echo, idle=None)]},
        {"settings": [Keys]},
        {"lifespan": lifespan},
        {"lifespan": starlettes},
        {"lifespan": Life},
        {"lifespan": plainly(lifespan)},
        {"lifespan": Service().lives},
        {"lifespan": Service().lives_in},
        {"lifespan": Service()},
        {"lifespan": functools.partial(Service(), dsn="db")},
        {"tasks": [Car], "listeners": [OwnWords]},
        {"crons": [cron(every="1s")(functools.partial(Service().run, 1))]},
        {"listeners": [on(Paid)(functools.partial(Service().run, 1))]},
        {"ready": lambda: ""},
        {"hooks": Hooks(worker_start=on_worker, worker_exit=lambda info: None)},
    ],
)
def test_what_a_field_takes_is_taken(declared: dict[str, Any]) -> None:
    Plugin(**declared)


async def _generating(self: Any, *_: Any) -> Any:
    yield 1


def _sync_generating(self: Any, *_: Any) -> Any:
    yield 1


def _task(**attributes: Any) -> dict[str, Any]:
    class Declaring(Send):
        pass

    for name, value in attributes.items():
        setattr(Declaring, name, value)
    return {"tasks": [Declaring]}


def _listener(**attributes: Any) -> dict[str, Any]:
    return {"listeners": [type("Listening", (OnPaid,), attributes)]}


def _cron(**attributes: Any) -> dict[str, Any]:
    return {"crons": [type("Ticking", (Beat,), attributes)]}


class Idle(Task): ...


class Queueless(Send):
    queue = None  # type: ignore[assignment]


class NumberedTask(Send, name=5):
    pass


class Fanning(Event):
    fanout = 1  # type: ignore[assignment]


class Needy(Listener[Paid]):
    def __init__(self, database: object) -> None: ...

    async def handle(self, event: Paid, ctx: Any) -> None: ...


class NeedyCron(Beat):
    def __init__(self, database: object) -> None: ...


class Timeless(CronJob):
    def run(self, tick: Tick) -> None: ...


class Lazy(CronJob):
    every = "1s"


E = TypeVar("E", bound=Event)


class OnAnything(Listener[E]):
    async def handle(self, event: E, ctx: Any) -> None: ...


class OnTask(OnPaid):
    event = Send  # type: ignore[assignment]


class PlainChat(WebSocketHandler):
    def on_message(self, connection: Any, message: str | bytes) -> None: ...  # type: ignore[override]


class PlainEcho(TcpHandler):
    def on_receive(self, connection: Any, frame: bytes) -> None: ...  # type: ignore[override]


class AsyncEcho(Echo):
    async def on_buffer_full(self, connection: Any) -> None: ...  # type: ignore[override]


class ShortEcho(TcpHandler):
    async def on_receive(self, frame: bytes) -> None: ...  # type: ignore[override]


class NeedyEcho(Echo):
    def __init__(self, database: object) -> None: ...


class Callback(Settings):
    @classmethod
    def on_change(cls, changed: frozenset[str]) -> None: ...  # type: ignore[override]


class Counting(Listener[Paid]):
    retries: ClassVar[int] = 3
    orders: ClassVar[list[int]] = []

    async def handle(self, event: Paid, ctx: Any) -> None: ...


@contextlib.contextmanager
def sync_lifespan() -> Iterator[None]:
    yield


async def generating_lifespan() -> AsyncIterator[None]:
    yield


async def coroutine_lifespan() -> None: ...


@contextlib.asynccontextmanager
async def long_lifespan(app: Any, database: Any) -> AsyncIterator[None]:
    yield


def wsgi(environ: Any, start_response: Any) -> Any: ...


# Wrong on purpose, and so without types.
TCP: Any = TcpListener
UDP: Any = UdpListener
HTTP: Any = HttpListener
HOOKS: Any = Hooks
MIDDLEWARE: Any = Middleware
MOUNT: Any = Mount
CRON: Any = cron
ON: Any = on
TASK: Any = task

WRONG: list[tuple[dict[str, Any], str]] = [
    # Not a list, or not one of the field's things
    (
        {"routes": Route("/", index)},
        "routes is an object of the class starlette.routing.Route; rou",
    ),
    (
        {"routes": [("/", index)]},
        "routes[0] is a tuple of 2; routes takes a list of Starlette routes",
    ),
    ({"routes": [Route("/", index), index]}, "routes[1] is the function tests.unit.api."),
    ({"routes": None}, "routes is None; routes takes a list"),
    ({"routes": "routes"}, "routes is 'routes'; routes takes a list"),
    (
        {"routes": iter([Route("/", index)])},
        "routes is an object of the class builtins.list_iterator",
    ),
    (
        {"tasks": Send},
        "tasks is the class tests.unit.api.checks.test_fields.Send; tasks takes a list of",
    ),
    (
        {"tasks": [Send()]},
        "tasks[0] is an object of the class tests.unit.api.checks.test_fields.Send",
    ),
    ({"tasks": ["shop.Send"]}, "tasks[0] is 'shop.Send'; tasks takes a list of subclasses of Task"),
    ({"tasks": {"Send": Send}}, "tasks is a dict of 1"),
    ({"tasks": [Paid]}, "tasks[0] is the class"),
    ({"tasks": [index]}, "or functions decorated with @task(…)"),
    ({"events": [Event]}, "events[0] is the class skep.api.tasks.event.Event; events takes"),
    ({"events": [Paid(order=1)]}, "events[0] is an object of the class"),
    ({"events": [Send]}, "events[0] is the class"),
    ({"listeners": [Send]}, "listeners[0] is the class"),
    ({"listeners": [OnPaid()]}, "listeners[0] is an object of the class"),
    ({"listeners": [Listener[Paid]]}, "listeners[0] is the function"),
    (
        {"crons": [index]},
        "crons[0] is the function tests.unit.api.checks.test_fields.index; crons takes",
    ),
    ({"crons": [cron]}, "crons[0] is the function skep.api.cron.cron"),
    ({"crons": [Tick]}, "crons[0] is the class skep.api.cron.Tick"),
    (
        {"sockets": [TcpListener]},
        "sockets[0] is the class skep.api.sockets.listeners.TcpListener; sockets ta",
    ),
    ({"sockets": [Echo]}, "sockets[0] is the class"),
    ({"settings": [Keys()]}, "settings[0] is an object of the class"),
    ({"settings": Keys}, "settings is the class"),
    (
        {"settings": [Settings]},
        "settings[0] is the class skep.config.env.settings.Settings; settings t",
    ),
    ({"middleware": [GZipMiddleware]}, "middleware[0] is the class"),
    (
        {"middleware": [(GZipMiddleware, {})]},
        "middleware[0] is a tuple of 2; middleware takes a li",
    ),
    (
        {"global_middleware": Middleware(GZipMiddleware)},
        "global_middleware is an object of the cla",
    ),
    ({"request_received": index}, "request_received is the function"),
    (
        {"request_received": [None]},
        "request_received[0] is None; request_received takes a list of f",
    ),
    ({"response_generated": ["add_headers"]}, "response_generated[0] is 'add_headers'"),
    ({"cleaners": [3]}, "cleaners[0] is 3; cleaners takes a list of functions without arguments."),
    (
        {"mounts": [app]},
        "mounts is a list of 1; it takes a dict of ASGI applications by path prefix",
    ),
    ({"hooks": {"worker_start": on_worker}}, "hooks is a dict of 1; it takes Hooks(server_start=…"),
    ({"hooks": Hooks}, "hooks is the class skep.api.hooks.Hooks; it takes Hooks("),
    ({"lifespan": "life"}, "lifespan is 'life'; it takes a function of () or (app)"),
    ({"ready": ""}, "ready is ''; it takes a function without arguments"),
    # Twice
    (
        {"tasks": [Send, Send]},
        "tasks[1], the class tests.unit.api.checks.test_fields.Send, is in the",
    ),
    ({"listeners": [OnPaid, OnPaid]}, "is in the list twice"),
    # What serves HTTP
    ({"routes": [Route("/", lambda: None)]}, "that takes (), but it is called with (request)"),
    ({"routes": [Route("/", Send)]}, "endpoint Send that is the class Send, and not an ASGI appli"),
    ({"routes": [Route("/", Chat)]}, "endpoint Chat that belongs in a WebSocketRoute"),
    ({"routes": [WebSocketRoute("/", Page)]}, "endpoint Page that belongs in a Route"),
    (
        {"routes": [WebSocketRoute("/", PlainChat)]},
        "method on_message that is a plain `def`: it mus",
    ),
    ({"routes": [Route("/", generating_lifespan)]}, "is a generator function"),
    (
        {"routes": [Mount("/x", routes=[Route("/", lambda: None)])]},
        "takes (), but it is called with",
    ),
    (
        {"routes": [MOUNT("/x", wsgi)]},
        "takes (environ, start_response), but it is called with (sco",
    ),
    ({"mounts": {"api": app}}, "mounts, a dict of 1, has the key 'api', and a path prefix begins"),
    ({"mounts": {1: app}}, "has the key 1"),
    (
        {"mounts": {"/": Mount}},
        "has an application at '/' that is the class Mount, and not an ASGI",
    ),
    (
        {"mounts": {"/": wsgi}},
        "takes (environ, start_response), but it is called with (scope, rece",
    ),
    (
        {"mounts": {"/": None}},
        "has an application at '/' that is None, and not an ASGI application",
    ),
    (
        {"middleware": [MIDDLEWARE(GZipMiddleware, size=5)]},
        "makes GZipMiddleware(app, size=…), whi",
    ),
    ({"request_received": [lambda: None]}, "takes (), but it is called with (request)"),
    ({"request_received": [_generating]}, "is a generator function: a call of it runs nothing"),
    ({"response_generated": [index]}, "takes (request), but it is called with (request, head)"),
    ({"cleaners": [index]}, "takes (request), but it is called with ()"),
    # Tasks, events, listeners
    ({"tasks": [Task]}, "has no method handle"),
    ({"tasks": [Idle]}, "has no method handle"),
    (
        _task(handle=lambda self: None),
        "has a method handle that takes (), but it is called with (ctx)",
    ),
    (_task(handle=lambda self, a, b: None), "takes (a, b), but it is called with (ctx)"),
    (_task(handle=_generating), "has a method handle that is a generator function"),
    (_task(handle=_sync_generating), "has a method handle that is a generator function"),
    (_task(handle=3), "has no method handle"),
    (_task(finish=_generating), "has a method finish that is a generator function"),
    (
        _task(finish=lambda self, ctx: None),
        "method finish that takes (ctx), but it is called with (r",
    ),
    (
        _task(failed=lambda self: None),
        "method failed that takes (), but it is called with (error, c",
    ),
    (_task(tries=0), "has tries = 0"),
    (_task(tries="3"), "has tries = '3'"),
    (_task(backoff=5), "has backoff = 5"),
    (_task(backoff=Backoff(first=-1)), "whose first is -1 and must be from 0 to"),
    (_task(backoff=Backoff(factor=float("nan"))), "whose factor is nan and must be from 0 to"),
    (_task(backoff=Backoff(cap=1e12)), "whose cap is 1000000000000.0 and must be from 0 to"),
    ({"tasks": [Queueless]}, "has queue = None"),
    (_task(timeout=0), "has timeout = 0"),
    (_task(lost_tries=0), "has lost_tries = 0"),
    (_task(cut_tries=0), "has cut_tries = 0"),
    (_task(drain=-1), "has drain = -1"),
    (_task(drain=float("inf")), "has drain = inf"),
    (_task(drain="10m"), "has drain = '10m'"),
    (_task(retry_on=ValueError), "has retry_on = <class 'ValueError'>"),
    (_task(priority="high"), "has priority = 'high'"),
    (_task(unique="{nothing}"), "but no field `nothing`"),
    (_task(unique="{order"), "which is not a template"),
    (_task(concurrency_key=5), "has concurrency_key = 5"),
    (_task(concurrency=0), "has concurrency = 0"),
    (_task(concurrency=2**40), "has concurrency = 1099511627776, which must be a whole number"),
    (_task(tries=2**40), "has tries = 1099511627776, which must be a whole number from 1 to"),
    (_task(timeout=float("inf")), "has timeout = inf, which must be a number of seconds above 0"),
    (_task(unique_for=1e300), "has unique_for = 1e"),
    (_task(priority=2**31), "has priority = 2147483648, which must be a whole number above"),
    (_task(queue="\ud800"), r"has queue = '\ud800'"),
    (_task(keep_result=-1), "has keep_result = -1"),
    (_task(retries=3), "has retries = 3, which nothing reads: did you mean `tries`"),
    ({"tasks": [NumberedTask]}, "has the name 5, which must be a text"),
    ({"events": [Fanning]}, "has fanout = 1, which must be True or False"),
    ({"listeners": [OnAnything]}, "does not say which event it listens to"),
    ({"listeners": [OnTask]}, "which is not a subclass of Event"),
    ({"listeners": [Needy]}, "cannot be made without arguments: it takes (database)"),
    ({"listeners": [Counting]}, "has retries = 3, which nothing reads: did you mean `tries`"),
    (
        _listener(handle=lambda self, event: None),
        "takes (event), but it is called with (event, ctx)",
    ),
    (_listener(handle=_generating), "has a method handle that is a generator function"),
    (_listener(order="first"), "has order = 'first'"),
    (
        _listener(event=type("Bad", (Paid,), {"queue": "", "__module__": "m"})),
        "which has queue = ''",
    ),
    # Crons
    ({"crons": [Timeless]}, "says no time"),
    ({"crons": [Lazy]}, "has no method run"),
    ({"crons": [NeedyCron]}, "cannot be made without arguments"),
    ({"crons": [CRON(every="1s")(lambda: None)]}, "takes (), but "),
    ({"crons": [CRON(every="1s")(_generating)]}, "is a generator function"),
    (_cron(run=lambda self: None), "method run that takes (), but it is called with (tick)"),
    (_cron(run=_sync_generating), "has a method run that is a generator function"),
    (_cron(misfires="once"), "has misfires = 'once', which nothing reads: did you mean `misfire`"),
    # Listeners of a plugin's own
    ({"sockets": [TCP(Echo())]}, "must be a subclass of TcpH"),
    ({"sockets": [TCP(Packets)]}, "must be a subclass of TcpH"),
    ({"sockets": [TCP(PlainEcho)]}, "method on_receive that is a plain `def`"),
    (
        {"sockets": [TCP(AsyncEcho)]},
        "on_buffer_full that is `async def`: it must be a plain",
    ),
    (
        {"sockets": [TCP(ShortEcho)]},
        "takes (frame), but it is called with (connection, fra",
    ),
    (
        {"sockets": [TCP(NeedyEcho)]},
        "cannot be made without arguments: it takes (database)",
    ),
    ({"sockets": [TCP(Echo, framing=Lines)]}, "has framing = "),
    (
        {"sockets": [TCP(Echo, idle=0)]},
        "has idle = 0, which must be a number of seconds above 0 an",
    ),
    ({"sockets": [TCP(Echo, connections=0)]}, "has connections = 0"),
    ({"sockets": [TCP(Echo, host=None)]}, "has host = None"),
    ({"sockets": [TCP(Echo, name=5)]}, "has name = 5"),
    ({"sockets": [TCP(Echo, unix=Path("x"))]}, "has unix = PosixPath('x'), which must be a text"),
    ({"sockets": [UDP(Echo)]}, "must be a subclass of UdpH"),
    ({"sockets": [UDP(Packets, concurrency=0)]}, "has concurrency = 0"),
    ({"sockets": [HTTP(5)]}, "has app = 5, which must be an AS"),
    ({"sockets": [HTTP(wsgi)]}, "takes (environ, start_response), but it is called"),
    ({"sockets": [HTTP([index])]}, "which must be an ASGI app"),
    # Settings, lifespan, ready, hooks
    (
        {"settings": [Callback]},
        "method on_change that takes (changed), but it is called with (old,",
    ),
    ({"lifespan": lifespan()}, "is a context manager already"),
    ({"lifespan": sync_lifespan}, "is decorated with @contextmanager: use @asynccontextmanager"),
    ({"lifespan": generating_lifespan}, "by itself: decorate it with @asynccontextmanager"),
    ({"lifespan": coroutine_lifespan}, "is a coroutine function: decorate it"),
    ({"lifespan": long_lifespan}, "takes (app, database), but it is called with () or"),
    ({"lifespan": Keys}, "has no __aenter__ and __aexit__"),
    ({"ready": index}, "takes (request), but it is called with ()"),
    (
        {"hooks": HOOKS(worker_start=lambda: None)},
        "has worker_start = <lambda>",
    ),
    ({"hooks": HOOKS(worker_exit=_generating)}, "which is a generator function"),
    ({"hooks": HOOKS(server_stop=5)}, "has server_stop = 5, which cann"),
]


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(("declared", "sentence"), WRONG)
def test_what_a_field_does_not_take_is_refused(declared: dict[str, Any], sentence: str) -> None:
    """A3: the error names the field, the value and what the field takes."""
    with pytest.raises(DeclarationError) as caught:
        Plugin(**declared)
    (fault,) = caught.value.faults
    (field,) = declared
    assert fault.startswith(field)
    assert sentence in fault


class Proxy:
    """As Flask's `request`: raises whatever it is asked outside of its context."""

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError("working outside of request context")

    __class__ = property(_refuse)
    __getattr__ = __iter__ = __len__ = __eq__ = __bool__ = __repr__ = _refuse
    __call__ = _refuse


@pytest.mark.parametrize("field", list(FIELDS))
def test_an_object_that_raises_when_it_is_looked_at_is_named_with_its_field(field: str) -> None:
    """A1, A3: the bare error of the object named neither the plugin nor the field."""
    given: Any = Proxy()
    shapes: list[Any] = [given, [given], {"/a": given}]
    for declared in shapes:
        with pytest.raises(DeclarationError) as caught:
            Plugin(**dict[str, Any]({field: declared}))
        assert caught.value.faults[0].startswith(field)


class Row(TypedDict):
    n: int


def _keeping(annotation: Any, **terms: Any) -> Any:
    async def handle(self: Task, ctx: Any) -> Any: ...

    handle.__annotations__["return"] = annotation
    return type("Keeping", (Send,), {"handle": handle, "keep_result": 60.0, **terms})


@pytest.mark.parametrize(
    "annotation",
    [None, Any, object, int, str | None, list[dict[str, float]], dict[int, Any], tuple[int, ...],
     Row, Literal["a"], Sequence[int], Mapping[str, int], "NameOfNothing", bool],
)  # fmt: skip
def test_results_that_json_knows_are_taken(annotation: Any) -> None:
    Plugin(tasks=[_keeping(annotation)])


@pytest.mark.parametrize(
    "annotation",
    [bytes, datetime, set[int], Send, int | datetime, list[datetime], dict[str, bytes],
     dict[bytes, int], Annotated[bytes, 1], AsyncIterator[int]],
)  # fmt: skip
def test_a_result_that_json_does_not_know_is_refused_by_its_annotation(annotation: Any) -> None:
    """A12: it would be a dead letter each time, after the work is done."""
    with pytest.raises(DeclarationError, match="but its handle returns"):
        Plugin(tasks=[_keeping(annotation)])
    finishing = _keeping(annotation, keep_result=0.0, finish=WithHandlerOf.handle)
    with pytest.raises(DeclarationError, match="has finish, but its handle returns"):
        Plugin(tasks=[finishing])
    Plugin(tasks=[_keeping(annotation, keep_result=0.0)])


def test_the_result_of_a_function_is_looked_at_too() -> None:
    @task(keep_result=60)
    def draw(ctx: Any) -> bytes:
        return b""

    with pytest.raises(DeclarationError, match="has keep_result, but its handle returns bytes"):
        Plugin(tasks=[draw])


def test_all_faults_are_named_at_once_with_the_plugin_and_without_values_of_settings() -> None:
    namespace = {"__name__": "plugins.shop.parts", "Plugin": Plugin, "keys": Keys()}
    with pytest.raises(DeclarationError) as caught:
        exec("Plugin(settings=[keys], tasks=5)", namespace)
    assert caught.value.plugin == "shop"
    assert len(caught.value.faults) == 2
    assert "hunter2" not in str(caught.value)


def test_a_cron_without_parentheses_is_refused_where_it_stands() -> None:
    with pytest.raises(PluginError, match=r"@cron above .*beat needs parentheses") as caught:

        @CRON  # type: ignore[untyped-decorator]
        def beat(tick: Tick) -> None: ...

    assert (caught.value.file, caught.value.line > 0) == (__file__, True)


def _without_context(to: str) -> None: ...


def _named_context(*, ctx: Any, to: str) -> None: ...


def _context_last(to: "str", ctx: "Context") -> None: ...


@pytest.mark.parametrize(
    ("decorate", "sentence"),
    [
        (lambda: task()(_generating), "is a generator function"),
        (lambda: task(_sync_generating), "is a generator function"),
        (lambda: TASK(_without_context), "_without_context takes no context: its first param"),
        (lambda: TASK(_named_context), "_named_context takes no context: its first parameter"),
        (lambda: TASK(_context_last), "`ctx` of .*_context_last is the context: it must be the f"),
        (lambda: ON(Paid)(_generating), "is a generator function"),
        (lambda: ON(index), "takes the class of an event, as in @on.OrderPaid., and not index"),
        (lambda: ON(Paid)(lambda event: None), "but it is called with .event, ctx"),
        (lambda: mail.finish(index), "takes .request., but it is called with .result, ctx"),
        (lambda: mail.failed(_generating), "is a generator function"),
    ],
)
def test_a_decorator_refuses_what_it_cannot_decorate(
    decorate: Callable[[], object], sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence):
        decorate()
