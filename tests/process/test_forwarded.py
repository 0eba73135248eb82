"""What the headers of a proxy make of a request, through both parsers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from skep import Plugin
from tests.website import Website, run_website

Run = Callable[..., None]


async def seen(request: Request) -> JSONResponse:
    return JSONResponse([request.client and request.client.host, str(request.url)])


PLUGIN = Plugin([Route("/seen", seen), Mount("/below", routes=[Route("/seen", seen)])])


@pytest.fixture(params=["httptools", "h11"])
def run(request: pytest.FixtureRequest) -> Run:
    return partial(run_website, PLUGIN, http=request.param)


def test_the_headers_of_a_trusted_peer_count(run: Run) -> None:
    """B8, E10: with `*` too, the client is not what a client writes to the left."""

    async def test(site: Website) -> None:
        connection = await site.connect()
        headers = ["x-forwarded-for: 6.6.6.6", "x-forwarded-for: 192.0.2.7"]
        headers += ["x-forwarded-proto: https,http", "x-forwarded-prefix: /shop"]
        for path in ("/seen", "/below/seen"):
            answer = await connection.ask(path, *headers)
            assert answer.body == f'["192.0.2.7","https://test/shop{path}"]'.encode()
            # A prefix is no route of its own
            labels: dict[str, Any] = {"method": "GET", "route": path, "status": "200"}
            assert site.value("http_requests_total", **labels) == 1
        # The next request of the same connection may be another client's
        assert (await connection.ask("/seen")).body == b'["127.0.0.1","http://test/seen"]'

    run(test, trusted_proxies=("*",))


def test_without_a_header_the_setting_says_what_the_proxy_has_removed(run: Run) -> None:
    """E10: --root-path."""

    async def test(site: Website) -> None:
        connection = await site.connect()
        untrusted = ("x-forwarded-prefix: /evil", "x-forwarded-for: 6.6.6.6")
        answer = await connection.ask("/seen", *untrusted)
        assert answer.body == b'["127.0.0.1","http://test/shop/seen"]'
        assert (await connection.ask("/below/seen")).status == 200

    run(test, root_path="/shop", trusted_proxies=("unix",))
