"""Sockets are bound once, and a refusal says what to do."""

import asyncio
import socket

import pytest

from skep.base.endpoint import Endpoint
from skep.base.errors import ListenError
from skep.supervisor.listeners import PLATFORM, Listeners


def http(host: str = "127.0.0.1", port: int = 0) -> Endpoint:
    return Endpoint("http", host, port, owner="the platform", remedy="--port")


def bind(host: str, port: int, *, patient: bool = False) -> str:
    async def main() -> str:
        listeners = Listeners()
        try:
            await listeners.open([http(host, port)], patient=patient)
            return listeners.urls(PLATFORM)["http"]
        finally:
            listeners.close()

    return asyncio.run(main())


def test_port_0_takes_a_free_one_and_the_address_is_told() -> None:
    assert bind("127.0.0.1", 0).startswith("http://127.0.0.1:")
    assert not bind("127.0.0.1", 0).endswith(":0")


def test_an_ipv6_address_is_told_in_brackets() -> None:
    assert bind("::1", 0).startswith("http://[::1]:")


def test_a_port_in_use_is_named_with_the_option_to_change_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"Port {port} on 127.0.0.1 is in use.*--port"):
            bind("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(ListenError, match=r"203\.0\.113\.1 is no address of this machine"):
        bind("203.0.113.1", 0)


def test_a_name_that_does_not_resolve_is_named() -> None:
    with pytest.raises(ListenError, match=r"nowhere\.invalid"):
        bind("nowhere.invalid", 0)


def test_who_is_patient_gets_the_port_when_the_other_lets_go() -> None:
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]

    async def main() -> None:
        listeners = Listeners()
        binding = asyncio.create_task(listeners.open([http(port=port)], patient=True))
        await asyncio.wait({binding}, timeout=0.1)
        assert not binding.done()
        other.close()
        await binding
        assert listeners.port("http") == port
        listeners.close()

    asyncio.run(main())


def test_binding_a_name_again_changes_nothing() -> None:
    async def main() -> None:
        listeners = Listeners()
        await listeners.open([http()])
        port = listeners.port("http")
        await listeners.open([http()])
        assert listeners.port("http") == port
        listeners.close()

    asyncio.run(main())
