import asyncio
import json
import re
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from skep.configserver.application import create_app
from skep.configserver.reading.published import Published
from skep.configserver.server import serve
from skep.configserver.storage.database import ConfigDatabase
from tests.configserver import APP, RunningConfigServer, asked, running_config_server
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


def poll(notifications: str) -> str:
    """Return the path of a poll."""
    return f"/notifications/v2?appId={APP}&cluster=default&notifications={quote(notifications)}"


def request(path: str, headers: str = "", body: str = "") -> bytes:
    """Return a request for this path."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}".encode()


def connect(server: RunningConfigServer) -> socket.socket:
    """Return a connection to the server."""
    at = urlsplit(server.url)
    return socket.create_connection((str(at.hostname), at.port or 0), timeout=10)


def read(client: socket.socket, end: bytes = b"") -> bytes:
    """Return what comes until the end of the connection, or until this, without the times."""
    answer = b""
    while not (end and answer.endswith(end)) and (piece := client.recv(65536)):
        answer += piece
    return re.sub(rb'date: [^\r]*|"timestamp":"[^"]*"', b"", answer)


@pytest.mark.parametrize(
    "path",
    [
        f"/configs/{APP}/default/application",
        f"/configs/{APP}/default/application?releaseKey=KEY",
        f"/configs/{APP}/default/applic%61tion",
        f"/configs/{APP}/default/nothing%3F",
        "/configs/s%20/default/application",
        poll(asked({"application": -1, "APPLICATION": 0})),
        poll("garbage"),
    ],
)
def test_the_short_way_and_the_long_way_answer_the_same_bytes(tmp_path: Path, path: str) -> None:
    with running_config_server(tmp_path) as server:
        server.publish({"k1": "v1"})
        path = path.replace("KEY", server.config().json()["releaseKey"])
        answers = []
        # Who expects a 100 goes the long way; one who sends no body is not told to send it.
        for headers in ("", "Expect: 100-continue\r\n"):
            with connect(server) as client:
                client.sendall(request(path, f"Connection: close\r\n{headers}"))
                answers.append(read(client))
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 ")


def test_what_clients_ask_all_day_needs_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_config_server(tmp_path) as server:
        server.publish({"k1": "v1"})
        begun: list[str] = []
        monkeypatch.setattr(
            HttpToolsProtocol, "_start_asgi_task", lambda _, cycle, app: begun.append("a task")
        )
        (news,) = server.poll({"application": -1}).json()
        key = server.config().json()["releaseKey"]
        assert server.config(releaseKey=key).status_code == 304
        with connect(server) as client:
            client.sendall(request(poll(asked({"application": news["notificationId"]}))))
            wait_until(lambda: server.watchers.held == 1)
        wait_until(lambda: server.watchers.held == 0)
        assert begun == []
        monkeypatch.undo()


def test_requests_behind_a_held_poll_wait_for_its_answer(tmp_path: Path) -> None:
    with running_config_server(tmp_path) as server, connect(server) as client:
        # A body that no poll has is discarded.
        held = request(
            poll(asked({"application": -1})), "Content-Length: 200000\r\n", "x" * 200_000
        )
        client.sendall(held + request("/health") + request(f"/configs/{APP}/default/application"))
        wait_until(lambda: server.watchers.held == 1)
        server.publish({"k1": "v1"})
        answers = read(client, b'"}').split(b"HTTP/1.1 ")
    assert [answer[:3] for answer in answers[1:]] == [b"200"] * len(answers[1:])
    assert b'"namespaceName":"application"' in answers[1]


def test_a_client_that_leaves_is_noticed_also_with_requests_behind_its_poll(
    tmp_path: Path,
) -> None:
    with running_config_server(tmp_path, hold=90) as server:
        with connect(server) as client:
            client.sendall(request(poll(asked({"application": -1}))) + request("/health"))
            wait_until(lambda: server.watchers.held == 1)
        wait_until(lambda: server.watchers.held == 0)


def test_many_requests_behind_a_held_poll_are_all_answered(tmp_path: Path) -> None:
    count = 2000
    with running_config_server(tmp_path) as server, connect(server) as client:
        asks = request("/configs/a/default/none", "Connection: keep-alive\r\n") * count
        last = request("/health", "Connection: close\r\n")
        client.sendall(request(poll(asked({"application": -1}))) + asks + last)
        wait_until(lambda: server.watchers.held == 1)
        server.publish({"k1": "v1"})
        answers = read(client)
    assert (answers.count(b"HTTP/1.1 404"), answers.count(b"HTTP/1.1 200")) == (count, 2)


def test_a_bug_on_the_short_way_is_answered_by_the_long_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_config_server(tmp_path) as server:
        monkeypatch.setattr(Published, "config", lambda *_: 1 // 0)
        assert server.config().status_code == 500
        assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200


def test_small_answers_do_not_wait_for_acknowledgements(tmp_path: Path) -> None:
    async def scenario() -> int:
        stop, listener = asyncio.Event(), socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(serve(listener, create_app(database, "token"), stop=stop))
        await asyncio.sleep(0)
        option = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stop.set()
        await serving
        return option

    with ConfigDatabase(tmp_path / "config.db") as database:
        assert asyncio.run(scenario()) != 0
