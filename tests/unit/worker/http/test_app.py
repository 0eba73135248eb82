"""One application out of the routes of all plugins."""

import asyncio

import httpx
import pytest
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from skep.api.plugin import Plugin
from skep.config.options.table import Options
from skep.worker.http.app import Application, clashes, listing, problems


def answering(text: str) -> object:
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(text)

    return endpoint


def get(path: str, text: str = "") -> Route:
    return Route(path, answering(text))  # type: ignore[arg-type]


class Chat(WebSocketEndpoint): ...


class Anything(HTTPEndpoint):
    """A class endpoint takes every method."""


def test_routes_of_all_plugins_and_mounts_are_served_by_one() -> None:
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"mounted {scope['path']}")(scope, receive, send)

    one = Plugin(routes=[get("/a", "A")], mounts={"/m": mounted})
    app = Application({"one": one, "two": Plugin([get("/b", "B")])}, Options()).app

    async def ask() -> list[str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [(await client.get(path)).text for path in ("/a", "/b", "/m/x")]

    assert asyncio.run(ask()) == ["A", "B", "mounted /m/x"]


def test_two_plugins_that_want_one_route_are_named() -> None:
    (problem,) = clashes({"a": Plugin([get("/x")]), "b": Plugin([get("/x")])})
    assert problem.plugin == "b"
    assert "GET /x" in problem.message
    assert "plugin a" in problem.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Plugin([get("/x/{a}")]), Plugin([get("/x/{b:str}")])),
        (Plugin([get("/x")]), Plugin([Route("/x", Anything)])),
        (Plugin([Route("/x", Anything)]), Plugin([get("/x")])),
        (
            Plugin(mounts={"/api": PlainTextResponse()}),
            Plugin(mounts={"/api/": PlainTextResponse()}),
        ),
        (Plugin(mounts={"/api": PlainTextResponse()}), Plugin([Mount("/api", routes=[get("/y")])])),
        (Plugin([WebSocketRoute("/w", Chat)]), Plugin([WebSocketRoute("/w", Chat)])),
    ],
)
def test_what_differs_in_writing_only_clashes_too(one: Plugin, other: Plugin) -> None:
    (problem,) = clashes({"a": one, "b": other})
    assert (problem.plugin, "plugin a" in problem.message) == ("b", True)


def test_a_route_that_one_plugin_has_twice_is_a_problem() -> None:
    assert len(clashes({"a": Plugin([get("/x"), get("/x")])})) == 1


def test_a_folder_of_files_that_is_not_there_is_a_problem() -> None:
    (problem,) = problems({}, Options(static="/no/such/folder"))
    assert "PLATFORM_STATIC is '/no/such/folder'" in problem.message


def test_other_methods_and_other_paths_are_no_clash() -> None:
    post = Route("/x", answering(""), methods=["POST"])  # type: ignore[arg-type]
    assert clashes({"a": Plugin([get("/x")]), "b": Plugin([post, get("/y")])}) == []


def test_the_listing_says_method_and_path() -> None:
    post = Route("/x", answering(""), methods=["POST"])  # type: ignore[arg-type]
    assert listing({"a": Plugin([get("/y"), post])}) == ["GET /y", "POST /x"]
