"""HTTP as plugins use it: on real sockets, one web worker in this process."""

import asyncio
import gzip
import io
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import MutableHeaders
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from skep import Plugin, Worker
from skep.api.hooks import ResponseHead
from skep.base.logs import log as logs
from tests.support import wait_until_async
from tests.website import Website, request, run_website

USER: ContextVar[str] = ContextVar("user", default="nobody")


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def broken(request: Request) -> Response:
    raise LookupError("no such bee")


HELLO = Route("/", hello)


# Request hooks, middleware, cleaners, contextvars.


def test_received_request_and_generated_response() -> None:
    order: list[str] = []

    def received(request: Request) -> None:
        order.append(f"received {request.url.path}")

    async def generated(request: Request, head: ResponseHead) -> None:
        order.append(f"generated {head.status}")
        head.headers["x-hook"] = request.url.path

    async def test(site: Website) -> None:
        answer = await site.ask("/")
        assert answer.headers["x-hook"] == "/"
        assert (await site.ask("/nowhere")).headers["x-hook"] == "/nowhere"
        assert order == ["received /", "generated 200", "received /nowhere", "generated 404"]

    hooks = Plugin(request_received=[received], response_generated=[generated])
    run_website({"a": Plugin([HELLO]), "b": hooks}, test)


def test_a_hook_may_refuse_a_request_and_the_handshake_of_a_websocket() -> None:
    def gatekeeper(request: Request) -> None:
        if "authorization" not in request.headers:
            raise HTTPException(401, "Who are you?")

    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    def mistaken(request: Request) -> Any:
        if "x-mistaken" in request.headers:
            return PlainTextResponse("Who are you?", 401)

    async def test(site: Website) -> None:
        # It was dropped, and the request was served.
        assert (await site.ask("/", "authorization: me", "x-mistaken: yes")).status == 500
        assert (await site.ask("/")).status == 401
        assert (await site.ask("/", "authorization: me")).status == 200
        upgrade = ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
                   "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
        assert (await site.ask("/chat", *upgrade)).status == 401
        connection = await site.connect()
        await connection.send(request("/chat", *upgrade, "authorization: me"))
        assert (await connection.answer(head_only=True)).status == 101

    routes = [HELLO, WebSocketRoute("/chat", chat)]
    run_website(Plugin(routes, request_received=[gatekeeper, mistaken]), test)


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "path": request.url.path,
            "query": dict(request.query_params),
            "by": request.headers.get("x-by"),
            "user": request.scope.get("shop.user"),
            "body": (await request.body()).decode(),
        }
    )


async def echo_on_websocket(socket: WebSocket) -> None:
    await socket.accept(headers=[(b"x-seen", socket.headers["x-by"].encode())])
    await socket.close()


def test_a_received_hook_changes_path_query_headers_and_scope_and_may_read_the_body() -> None:
    """A15: what a hook changes in the scope is what the handler sees; it was dropped."""

    async def rewrite(request: Request) -> None:
        scope = request.scope
        scope["shop.user"] = (await request.body()).decode()[:3] or "nobody"
        MutableHeaders(scope=scope)["x-by"] = "the hook"
        if scope["path"].startswith("/old"):
            scope["path"] = scope["path"].replace("/old", "/new")
            scope["query_string"] = b"page=2"
        if scope["path"] == "/replaced":
            request.scope = {**scope, "path": "/new"}

    async def test(site: Website) -> None:
        body = b"bee" * 40_000
        answer = await site.ask("/old?page=1", method="POST", body=body)
        assert json.loads(answer.body) == {
            "path": "/new",
            "query": {"page": "2"},
            "by": "the hook",
            "user": "bee",
            "body": body.decode(),
        }
        assert json.loads((await site.ask("/replaced", method="POST")).body)["path"] == "/new"
        upgrade = ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
                   "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
        connection = await site.connect()
        await connection.send(request("/old/chat", *upgrade))
        answer = await connection.answer(head_only=True)
        assert (answer.status, answer.headers["x-seen"]) == (101, "the hook")

    routes = [Route("/new", echo, methods=["POST"]), WebSocketRoute("/new/chat", echo_on_websocket)]
    run_website(Plugin(routes, request_received=[rewrite]), test)


def test_a_generated_hook_replaces_the_body() -> None:
    """A15: the body that a hook sets is sent whole, with its length, also of a compressed one. An
    answer that has no body by its status gets none: its bytes were read as the next answer. What
    cannot be sent is a 500; the client got nothing."""

    def cover(request: Request, head: ResponseHead) -> None:
        match request.url.query:
            case "empty":
                head.status = 204
            case "emptied":
                head.status, head.body = 304, b"not sent"
            case "text":
                head.body = "a text"  # type: ignore[assignment]
            case "status":
                head.status = "404"  # type: ignore[assignment]
        if head.status == 404:
            head.status = 200
            head.body = b"no such page, but a nice one"

    async def stream(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"nowhere " * 100

        return StreamingResponse(parts(), 404)

    async def test(site: Website) -> None:
        connection = await site.connect()
        for path in ("/nowhere", "/stream", "/nowhere"):
            answer = await connection.ask(path, "accept-encoding: gzip")
            assert (answer.status, answer.body) == (200, b"no such page, but a nice one")
            assert answer.headers["content-length"] == "28"
            assert "content-encoding" not in answer.headers
        assert (await connection.ask("/")).body == b"hello"
        assert (await connection.ask("/nowhere", method="HEAD")).body == b""
        for query, status in (("empty", 204), ("emptied", 304)):
            answer = await connection.ask(f"/?{query}")
            assert (answer.status, answer.headers.get("content-length")) == (status, None)
            assert (await connection.ask("/")).body == b"hello"
        for query in ("text", "status"):
            assert (await site.ask(f"/?{query}")).status == 500

    routes = [HELLO, Route("/stream", stream)]
    run_website(Plugin(routes, response_generated=[cover]), test, compression=True)


class Stamping:
    """Pure ASGI middleware that counts all it sees, and signs the answers."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._seen.append(scope["type"])

        async def sign(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"1")]
            await send(message)

        await self._app(scope, receive, sign)


class Words(BaseHTTPMiddleware):
    """Lets in clients that know the word."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.query_params.get("word") != "honey":
            return PlainTextResponse("Say the word.", 403)
        return await call_next(request)


def test_global_middleware_is_around_all_that_the_platform_serves() -> None:
    """A15: routes of other plugins, mounts, unknown paths and handshakes of WebSockets go through
    the middleware that one plugin declares for the platform."""
    seen: list[str] = []

    async def test(site: Website) -> None:
        for path, status in (("/", 200), ("/mounted/", 200), ("/nowhere", 404)):
            answer = await site.ask(f"{path}?word=honey")
            assert (answer.status, answer.headers["x-stamp"]) == (status, "1")
            answer = await site.ask(path)
            assert (answer.status, answer.headers["x-stamp"]) == (403, "1")
        upgrade = ("upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
                   "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "x-by: me")  # fmt: skip
        assert (await site.ask("/chat", *upgrade)).status == 403
        assert (await site.ask("/chat?word=honey", *upgrade)).status == 101
        assert "websocket" in seen

    own = [Middleware(Stamping, seen=[])]
    plain = Plugin(
        [HELLO, WebSocketRoute("/chat", echo_on_websocket)],
        {"/mounted": Starlette(routes=[HELLO])},
        middleware=own,
    )
    both = Plugin(global_middleware=[Middleware(Stamping, seen=seen), Middleware(Words)])
    run_website({"a": plain, "b": both}, test)


def test_a_lifespan_in_starlettes_shape() -> None:
    """A3: `lifespan(app)` is called with an application whose state is that of `request.app`; a
    mapping that it yields is in the state of every request, and one without an argument goes on.
    Methods, partials and objects are called as the functions that they hold."""
    ended: list[str] = []

    @asynccontextmanager
    async def starlettes(app: Starlette) -> AsyncIterator[dict[str, str]]:
        app.state.database = "db"
        yield {"client": "http"}
        ended.append("starlettes")

    @asynccontextmanager
    async def own() -> AsyncIterator[None]:
        yield
        ended.append("own")

    async def show(request: Request) -> JSONResponse:
        return JSONResponse([request.app.state.database, request.state.client])

    async def test(site: Website) -> None:
        for _ in range(2):
            assert json.loads((await site.ask("/show")).body) == ["db", "http"]

    class Service:
        @asynccontextmanager
        async def alone(self) -> AsyncIterator[None]:
            yield
            ended.append("alone")

        @asynccontextmanager
        async def __call__(self, app: Starlette, dsn: str = "") -> AsyncIterator[None]:
            yield
            ended.append(f"{app.state.database} {dsn}")

    plugins = {
        "a": Plugin([Route("/show", show)], lifespan=starlettes),
        "b": Plugin(lifespan=own),
        "c": Plugin(lifespan=Service().alone),
        "d": Plugin(lifespan=Service().__call__),
        "e": Plugin(lifespan=partial(Service(), dsn="dsn")),
    }
    run_website(plugins, test)
    assert ended == ["db dsn", "db ", "alone", "own", "starlettes"]


class Counting:
    """Middleware that remembers: one of it serves all routes of its plugin."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app, self.name, self.seen = app, name, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen += 1

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                told = (b"x-" + self.name.encode(), str(self.seen).encode())
                message = {**message, "headers": [*message["headers"], told]}
            await send(message)

        await self.app(scope, receive, answer)


def test_middleware_is_around_the_routes_of_its_plugin_only() -> None:
    async def test(site: Website) -> None:
        assert (await site.ask("/a")).headers["x-outer"] == "1"
        answer = await site.ask("/b/7")
        assert (answer.headers["x-outer"], answer.headers["x-inner"]) == ("2", "2")
        assert (await site.ask("/api/x")).headers["x-outer"] == "3"
        assert "x-outer" not in (await site.ask("/free")).headers
        assert site.value("http_requests_total", method="GET", route="/b/{n}", status="200") == 1

    mine = Plugin(
        [Route("/a", hello), Route("/b/{n}", hello)],
        mounts={"/api": PlainTextResponse("api")},
        middleware=[Middleware(Counting, "outer"), Middleware(Counting, "inner")],
    )
    run_website({"mine": mine, "other": Plugin([Route("/free", hello)])}, test)


def test_cleaners_run_after_every_request_also_after_an_exception() -> None:
    state = {"language": "en"}
    failed: list[str] = []

    async def change(request: Request) -> PlainTextResponse:
        before = state["language"]
        state["language"] = "fr"
        if "fail" in request.query_params:
            raise LookupError("on purpose")
        return PlainTextResponse(before)

    def bad_cleaner() -> None:
        failed.append("cleaner")
        raise ValueError("on purpose")

    async def clean() -> None:
        state["language"] = "en"

    async def test(site: Website) -> None:
        assert (await site.ask("/")).body == b"en"
        assert (await site.ask("/?fail")).status == 500
        assert (await site.ask("/")).body == b"en"
        assert len(failed) == 3

    run_website(Plugin([Route("/", change)], cleaners=[bad_cleaner, clean]), test)


def test_register_providers_what_a_hook_makes_is_made_for_each_request() -> None:
    def provide(request: Request) -> None:
        request.state.session = object()

    made: list[object] = []

    async def use(request: Request) -> PlainTextResponse:
        made.append(request.state.session)
        return PlainTextResponse("ok")

    async def test(site: Website) -> None:
        connection = await site.connect()
        for _ in range(2):
            assert (await connection.ask("/")).status == 200
        assert made[0] is not made[1]

    run_website(Plugin([Route("/", use)], request_received=[provide]), test)


def test_destroy_controllers_an_endpoint_s_self_is_of_one_request() -> None:
    class Controller(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            seen = hasattr(self, "user")
            self.user = "bee"
            return PlainTextResponse(str(seen))

    async def test(site: Website) -> None:
        connection = await site.connect()
        assert [(await connection.ask("/")).body for _ in range(2)] == [b"False", b"False"]

    run_website(Plugin([Route("/", Controller)]), test)


def test_db_reset_an_open_transaction_is_rolled_back_before_the_next_request() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("create table orders (id integer)")

    async def forgetful(request: Request) -> PlainTextResponse:
        database.execute("insert into orders values (1)")
        raise LookupError("before the commit")

    async def count(request: Request) -> PlainTextResponse:
        (number,) = database.execute("select count(*) from orders").fetchone()
        return PlainTextResponse(str(number))

    async def test(site: Website) -> None:
        assert (await site.ask("/forget")).status == 500
        assert (await site.ask("/count")).body == b"0"

    routes = [Route("/forget", forgetful), Route("/count", count)]
    run_website(Plugin(routes, cleaners=[database.rollback]), test)
    database.close()


def test_worker_num_one_worker_answers_a_hundred_that_wait_for_each_other() -> None:
    together = asyncio.Barrier(100)

    async def wait(request: Request) -> PlainTextResponse:
        await together.wait()
        return PlainTextResponse("ok")

    async def test(site: Website) -> None:
        answers = await asyncio.gather(*(site.ask("/") for _ in range(100)))
        assert {answer.status for answer in answers} == {200}

    run_website(Plugin([Route("/", wait)]), test)


def test_no_request_sees_the_context_of_another() -> None:
    async def who(request: Request) -> PlainTextResponse:
        before = USER.get()
        USER.set(request.query_params["name"])
        await asyncio.sleep(0)
        return PlainTextResponse(f"{before} {USER.get()}")

    async def test(site: Website) -> None:
        connection = await site.connect()
        assert (await connection.ask("/?name=a")).body == b"nobody a"
        # Pipelined ones are begun in the task of the one before.
        await connection.send(b"".join(request(f"/?name={name}") for name in "bcd"))
        bodies = [(await connection.answer()).body for _ in range(3)]
        assert bodies == [b"nobody b", b"nobody c", b"nobody d"]

    run_website(Plugin([Route("/", who)]), test)


# Mounted applications.


def mounted(log: list[str], fails: bool = False) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        if fails:
            raise LookupError("no database")
        log.append("up")
        yield {"pool": "of bees"}
        log.append("down")

    async def pool(request: Request) -> JSONResponse:
        return JSONResponse({"pool": request.state.pool, "path": request.url.path})

    return Starlette(routes=[Route("/pool/{n}", pool)], lifespan=lifespan)


def test_a_mounted_application_lives_with_its_worker() -> None:
    log: list[str] = []

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse(scope["path"])(scope, receive, send)

    async def test(site: Website) -> None:
        assert log == ["up"]
        answer = await site.ask("/api/v2/pool/7")
        assert json.loads(answer.body) == {"pool": "of bees", "path": "/api/v2/pool/7"}
        assert (await site.ask("/api/x")).body == b"/api/x"
        for route in ("/api/v2/pool/{n}", "/api/*"):
            assert site.value("http_requests_total", method="GET", route=route, status="200") == 1

    # The longer prefix counts, whoever is named first.
    run_website({"a": Plugin(mounts={"/api": bare}), "b": Plugin(mounts={"/api/v2": mounted(log)})},
                test)  # fmt: skip
    assert log == ["up", "down"]


def test_a_mounted_application_that_cannot_start_refuses_the_generation() -> None:
    async def test(site: Website) -> None:
        raise AssertionError("it must not come to this")

    with pytest.raises(Exception, match=r"mounted at /api cannot start(.|\n)*no database"):
        run_website(Plugin(mounts={"/api": mounted([], fails=True)}), test)


# Files, compression, headers.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    public = tmp_path / "public"
    (public / "sub").mkdir(parents=True)
    (public / ".well-known").mkdir()
    (tmp_path / ".env").write_text("SECRET=1")
    (public / ".env").write_text("SECRET=1")
    (public / "link").symlink_to(tmp_path / ".env")
    (public / "bee.txt").write_text("0123456789abcdef")
    (public / "index.html").write_text("<p>index</p>")
    (public / ".well-known" / "x").write_text("known")
    return public


def test_handle_static_with_etag_range_and_no_traversal(folder: Path) -> None:
    async def test(site: Website) -> None:
        whole = await site.ask("/bee.txt")
        assert (whole.status, whole.body) == (200, b"0123456789abcdef")
        part = await site.ask("/bee.txt", "range: bytes=0-9")
        assert (part.status, part.body) == (206, b"0123456789")
        assert (await site.ask("/bee.txt", f"if-none-match: {whole.headers['etag']}")).status == 304
        for path in ("/../.env", "/%2e%2e/.env", "/sub/..%2f..%2f.env", "//etc/passwd", "/.env",
                     "/link", "/nothing", "/bee.txt%00", "/" + "x" * 300):  # fmt: skip
            assert (await site.ask(path)).status == 404, path
        assert (await site.ask("/.well-known/x")).body == b"known"
        assert (await site.ask("/")).body == b"<p>index</p>"
        assert (await site.ask("/bee.txt", method="HEAD")).headers["content-length"] == "16"
        # What plugins have comes first, and what they answer to other methods stays theirs.
        assert (await site.ask("/hello")).body == b"hello"
        assert (await site.ask("/hello", method="DELETE")).status == 405
        assert (await site.ask("/bee.txt", method="DELETE")).status == 404
        labels = {"method": "GET", "route": "__static__"}
        assert site.value("http_requests_total", status="206", **labels) == 1

    run_website(Plugin([Route("/hello", hello)]), test, static=str(folder))


def test_http_compression_is_there_when_it_is_on() -> None:
    async def long(request: Request) -> PlainTextResponse:
        return PlainTextResponse("bee " * 1000)

    async def test(site: Website) -> None:
        answer = await site.ask("/", "accept-encoding: gzip")
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(answer.body) == b"bee " * 1000
        assert "content-encoding" not in (await site.ask("/")).headers

    async def off(site: Website) -> None:
        assert "content-encoding" not in (await site.ask("/", "accept-encoding: gzip")).headers

    plugin = Plugin([Route("/", long)])
    run_website(plugin, test, compression=True)
    run_website(plugin, off)


def test_server_header_is_what_is_set_and_none_by_default() -> None:
    async def default(site: Website) -> None:
        assert "server" not in (await site.ask("/")).headers

    async def test(site: Website) -> None:
        assert (await site.ask("/")).headers["server"] == "hive"

    run_website(Plugin([HELLO]), default)
    run_website(Plugin([HELLO]), test, server_header="hive")


def test_uploads_spill_to_disk() -> None:
    async def upload(request: Request) -> JSONResponse:
        async with request.form() as form:
            file: Any = form["file"]
            # A spooled file has a descriptor once it has left the memory.
            return JSONResponse({"size": file.size, "on disk": file.file._rolled})

    async def test(site: Website) -> None:
        for size, on_disk in ((1000, False), (3_000_000, True)):
            head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
            body = head + b"z" * size + b"\r\n--x--\r\n"
            kind = "content-type: multipart/form-data; boundary=x"
            answer = await site.ask("/", kind, method="POST", body=body)
            assert json.loads(answer.body) == {"size": size, "on disk": on_disk}

    run_website(Plugin([Route("/", upload, methods=["POST"])]), test)


# Request ids, the access log, exceptions.


def test_a_request_has_a_name_in_the_answer_and_in_its_log_lines() -> None:
    out = io.StringIO()

    async def named(request: Request) -> PlainTextResponse:
        logging.getLogger("shop").warning("looking")
        return PlainTextResponse(request.state.request_id)

    async def test(site: Website) -> None:
        logs.configure("web.0", 1, style="json", stream=out)
        given = await site.ask("/", "x-request-id: order-7")
        assert (given.headers["x-request-id"], given.body) == ("order-7", b"order-7")
        made = await site.ask("/", 'x-request-id: "forged\tid"')
        other = await site.ask("/")
        assert made.headers["x-request-id"] != other.headers["x-request-id"]
        assert made.body.decode() == made.headers["x-request-id"]
        lines = [json.loads(line) for line in out.getvalue().splitlines()]
        ids = [line["request_id"] for line in lines if line["message"] == "looking"]
        assert ids == ["order-7", made.body.decode(), other.body.decode()]

    run_website(Plugin([Route("/", named)]), test)


def test_the_access_log_tells_every_request_in_one_line() -> None:
    out = io.StringIO()

    def access() -> list[dict[str, Any]]:
        lines = map(json.loads, out.getvalue().splitlines())
        return [line for line in lines if line["logger"] == "skep.access"]

    async def test(site: Website) -> None:
        logs.configure("web.0", 1, style="json", stream=out)
        await site.ask("/bees/%0a%7b?token=secret", "x-request-id: r1")
        await site.ask("/", "x-request-id: r2")
        await wait_until_async(lambda: len(access()) == 2)
        first, second = access()
        assert (first["status"], second["status"]) == (404, 200)
        assert (first["path"], first["method"]) == ("/bees/\n{", "GET")
        assert (first["request_id"], first["client"]) == ("r1", "127.0.0.1")
        assert first["seconds"] >= 0
        assert "secret" not in str(first)
        # What was answered last is written although the worker stops at once.
        await site.ask("/", "x-request-id: r3")

    run_website(Plugin([HELLO]), test, access_log=True)
    assert access()[-1]["request_id"] == "r3"


def test_an_exception_is_500_counted_and_logged_with_the_request_s_name() -> None:
    out = io.StringIO()

    async def test(site: Website) -> None:
        logs.configure("web.0", 1, style="json", stream=out)
        answer = await site.ask("/bees/7", "x-request-id: r7")
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert (answer.headers["x-request-id"], answer.headers["connection"]) == ("r7", "close")
        assert site.value("http_exceptions_total", route="/bees/{n}") == 1
        (line,) = map(json.loads, out.getvalue().splitlines())
        assert line["request_id"] == "r7"
        assert line["message"] == "GET /bees/{n} failed"
        assert "no such bee" in line["exception"]

    run_website(Plugin([Route("/bees/{n}", broken)]), test)


# Streams, and work after the answer.


def test_terminate_after_response_does_not_keep_the_client_waiting() -> None:
    done = asyncio.Event()

    async def later() -> None:
        await done.wait()

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(later))

    async def test(site: Website) -> None:
        assert (await site.ask("/")).body == b"ok"
        assert site.value("http_requests_total", method="GET", route="/", status="200") == 1
        assert site.value("http_requests_in_progress", pool="web") == 0
        done.set()

    run_website(Plugin([Route("/", answer)]), test)


def test_work_after_the_answer_that_fails_costs_nobody_the_connection() -> None:
    async def fail() -> None:
        raise LookupError("too late")

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok", background=BackgroundTask(fail))

    async def test(site: Website) -> None:
        connection = await site.connect()
        for _ in range(3):
            assert (await connection.ask("/")).body == b"ok"
        await wait_until_async(lambda: site.value("http_exceptions_total", route="/") == 3)

    run_website(Plugin([Route("/", answer)]), test)


def test_streaming_sse_events_come_as_they_occur_and_end_with_the_drain() -> None:
    happened: asyncio.Queue[str] = asyncio.Queue()

    async def events() -> AsyncIterator[str]:
        worker = Worker.current()
        drain = asyncio.ensure_future(worker.wait_draining())
        while not worker.draining:
            event = asyncio.ensure_future(happened.get())
            await asyncio.wait({event, drain}, return_when=asyncio.FIRST_COMPLETED)
            if event.done():
                yield f"data: {event.result()}\n\n"
            event.cancel()
        yield "event: bye\n\n"

    async def sse(request: Request) -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(request("/sse"))
        head = await connection.answer(head_only=True)
        assert head.headers["content-type"].startswith("text/event-stream")
        for event in ("one", "two"):
            happened.put_nowait(event)
            assert await connection.reader.readuntil(b"\n\n\r\n") == (
                b"b\r\ndata: " + event.encode() + b"\n\n\r\n"
            )
        # When the worker drains
        Worker.current().begin_drain()
        # Then the stream comes to its own end
        assert (
            await connection.reader.readuntil(b"0\r\n\r\n") == b"c\r\nevent: bye\n\n\r\n0\r\n\r\n"
        )

    run_website(Plugin([Route("/sse", sse)]), test)


def test_an_answer_that_breaks_half_way_is_seen_to_be_broken() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise LookupError("the other half")

    async def half(request: Request) -> StreamingResponse:
        return StreamingResponse(chunks())

    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(request("/"))
        assert (await connection.answer(head_only=True)).status == 200
        assert not (await connection.ended()).endswith(b"0\r\n\r\n")

    run_website(Plugin([Route("/", half)]), test)


def test_the_head_of_a_stream_does_not_wait_for_its_first_chunk() -> None:
    first = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        await first.wait()
        yield b"x" * 200_000
        yield b"y"

    async def late(request: Request) -> StreamingResponse:
        return StreamingResponse(chunks())

    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(request("/"))
        head = await connection.answer(head_only=True)
        first.set()
        body = await connection.body(head.headers)
        assert (body.count(b"x"), body.count(b"y")) == (200_000, 1)
        assert (await connection.ask("/", method="HEAD")).status == 200
        assert (await connection.ask("/nowhere")).status == 404

    run_website(Plugin([Route("/", late)]), test)


def test_an_answer_leaves_in_one_segment() -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        for _ in range(20):
            await connection.send(request("/"))
            assert (await connection.reader.read(65536)).endswith(b"\r\n\r\nhello")

    run_website(Plugin([HELLO]), test)
