"""For which names a port of the platform's own answers."""

import asyncio
from typing import Any

import pytest

from skep.base.sockets.host_check import HostCheck


def ask(
    *hosts: str, server: tuple[str, int] | None = ("127.0.0.1", 5201), http: str = "1.1"
) -> int:
    """Return the status of a request with these Host headers; the application answers 200."""
    scope = {
        "type": "http",
        "http_version": http,
        "server": server,
        "headers": [(b"host", host.encode()) for host in hosts],
    }
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await HostCheck(app, ["metrics.internal", "192.0.2.9"])(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(run())
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:5201",
        "localhost.",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]:5201",
        "0.0.0.0:5201",
        "metrics.internal",
        "Metrics.Internal:443",
        "192.0.2.9",
    ],
)
def test_loopback_and_the_operator_s_names_are_answered(host: str) -> None:
    assert ask(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5201",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost/evil.example",
        "metrics.internal.evil.example",
        "192.0.2.7",
        "[2001:db8::1]",
        "[::1",
        "localhost:x",
        "",
        " ",
    ],
)
def test_other_names_are_not(host: str) -> None:
    """D6: a page that lets its own name lead here is not answered."""
    assert ask(host) == 421


def test_the_address_on_which_a_request_comes_in_is_answered() -> None:
    assert ask("192.0.2.7:5201", server=("192.0.2.7", 5201)) == 200
    assert ask("[2001:db8::1]", server=("2001:db8::1", 5201)) == 200
    assert ask("[2001:DB8:0::1]", server=("2001:db8::1", 5201)) == 200
    assert ask("192.0.2.8", server=("192.0.2.7", 5201)) == 421
    assert ask("192.0.2.8", server=None) == 421


def test_only_http_1_0_may_leave_the_name_out() -> None:
    assert ask(http="1.0") == 200
    assert ask() == 421
    assert ask("localhost", "localhost") == 421
