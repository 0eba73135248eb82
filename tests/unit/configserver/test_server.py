import asyncio
import json
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import uvloop

from skep.configserver.application import create_app
from skep.configserver.server import serve
from skep.configserver.storage.database import ConfigDatabase
from tests.configserver import running_config_server
from tests.support import wait_until

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_held_polls_are_answered_when_the_server_stops(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with ThreadPoolExecutor(20) as pool:
        # Given polls held for longer than the test lasts
        with running_config_server(tmp_path, hold=90, loop_factory=loop_factory) as server:
            clients = [httpx.Client(base_url=server.url, trust_env=False) for _ in range(20)]
            query = 'appId=a&cluster=c&notifications=[{"namespaceName":"n"}]'
            polls = [
                pool.submit(client.get, f"/notifications/v2?{query}", timeout=30)
                for client in clients
            ]
            wait_until(lambda: server.watchers.held == 20)
            # When it stops, which leaving the block waits for
        # Then each was answered, and told not to come back on this connection
        for poll, client in zip(polls, clients, strict=True):
            answer = poll.result(1)
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["connection"] == "close"
            client.close()


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_neither_idle_nor_stuck_clients_keep_the_server_from_stopping(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with running_config_server(tmp_path, loop_factory=loop_factory) as server:
        at = urlsplit(server.url)
        path = "/openapi/v1/envs/DEV/apps/a/clusters/c/namespaces/n/items"
        idle, stuck = (socket.create_connection((str(at.hostname), at.port or 0)) for _ in "12")
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"UP"}'):
            answer += idle.recv(4096)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {server.token}\r\n"
        # The server says 100 when the handler waits for the body, which never comes.
        stuck.sendall(f"{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode())
        assert stuck.recv(4096).startswith(b"HTTP/1.1 100")
    for client in (idle, stuck):
        with client:
            client.settimeout(5)
            try:
                assert client.recv(4096) == b""
            except ConnectionResetError:
                assert client is stuck


def test_signals_are_left_to_the_caller(tmp_path: Path) -> None:
    async def scenario() -> list[object]:
        stop = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/health"
        serving = asyncio.create_task(serve(listener, create_app(database, "token"), stop=stop))
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).json() == {"status": "UP"}
        handlers: list[object] = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
        stop.set()
        await serving
        assert listener.fileno() == -1
        return handlers

    before: list[object] = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with ConfigDatabase(tmp_path / "config.db") as database, asyncio.Runner() as runner:
        # asyncio.run would take SIGINT for itself, so the loop is run by hand.
        assert runner.get_loop().run_until_complete(scenario()) == before


@pytest.mark.parametrize("sent", [f"GET /configs/{'a' * 70_000} HTTP/1.1", "this is not HTTP"])
def test_what_cannot_be_read_is_refused_as_json(tmp_path: Path, sent: str) -> None:
    with running_config_server(tmp_path) as server:
        at = urlsplit(server.url)
        with socket.create_connection((str(at.hostname), at.port or 0), timeout=10) as client:
            client.sendall(f"{sent}\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            while piece := client.recv(65536):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert (json.loads(body)["status"], b"application/json" in head) == (400, True)
