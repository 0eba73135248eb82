"""WebSockets of one worker: who is let in, who is reached, and how each ends."""

import asyncio
import contextlib
import json
import socket
import struct
from pathlib import Path
from typing import Any, ClassVar

import pytest
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from skep.api.plugin import Plugin
from skep.api.sockets.push import broadcast, connections, disconnect, presence, push, push_sync
from skep.api.sockets.websocket import Connection, WebSocketHandler, connection_of
from skep.base.errors import PlatformError
from tests.raw_websocket import CLOSE, PING, TEXT, RawWebSocket, close_of
from tests.support import wait_until_async
from tests.web_worker import WebWorker, run_with_worker


class Guest(WebSocketHandler):
    """Known by name; says back what it is told, does what `!` says."""

    subprotocols: ClassVar[tuple[str, ...]] = ("v2", "v1")
    closed: ClassVar[list[tuple[int, str]]] = []

    async def on_handshake(self, request: HTTPConnection) -> Response | None:
        self.name = request.query_params.get("name", "")
        return None if self.name else PlainTextResponse("Who?", 401, {"www-authenticate": "Name"})

    async def on_open(self, connection: Connection) -> None:
        connection.bind(self.name)

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        if message == "!fail":
            raise LookupError("as told")
        if message == "!exit":
            raise SystemExit(3)
        if message == "!flood":
            while True:
                await connection.send("x" * 10_000)
        if isinstance(message, str) and message.startswith("+"):
            connection.join(message[1:])
        elif isinstance(message, str) and message.startswith("-"):
            connection.leave(message[1:])
        await connection.send(message)

    async def on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.closed.append((code, reason))


async def starlettes_own(websocket: WebSocket) -> None:
    await websocket.accept()
    connection_of(websocket).bind("own")
    while True:
        await websocket.send_text(await websocket.receive_text())


async def silent(websocket: WebSocket) -> None:
    """End without an answer."""


PLUGIN = Plugin(
    routes=[
        WebSocketRoute("/guest", Guest),
        WebSocketRoute("/own", starlettes_own),
        WebSocketRoute("/silent", silent),
    ]
)


@pytest.fixture(autouse=True)
def nothing_closed() -> None:
    Guest.closed.clear()


def guest(worker: WebWorker, name: str, **more: Any) -> Any:
    return connect(worker.url(f"/guest?name={name}"), **more)


async def say(client: ClientConnection, *messages: str) -> None:
    """Say things, each of which is answered when it is done."""
    for message in messages:
        await client.send(message)
        assert await client.recv() == message


async def closed_with(client: ClientConnection) -> int:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()
    assert client.close_code is not None
    return client.close_code


def test_whoever_is_refused_at_the_handshake_gets_that_answer_and_no_101(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await guest(worker, "")
        answer = refused.value.response
        assert (answer.status_code, bytes(answer.body)) == (401, b"Who?")
        assert answer.headers["www-authenticate"] == "Name"
        assert Guest.closed == []
        assert worker.metric("websocket_refusals_total", reason="application") == 1

    run_with_worker(tmp_path, PLUGIN, test)


def test_the_subprotocol_is_the_first_of_ours_that_was_offered(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        for offered, chosen in ((["v1", "v2"], "v2"), (["v1"], "v1"), (["other"], None)):
            async with guest(worker, "ann", subprotocols=offered) as client:
                assert client.subprotocol == chosen

    run_with_worker(tmp_path, PLUGIN, test)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Sec-WebSocket-Version: 12"], 426),
        (["Sec-WebSocket-Key: short"], 400),
        (["Sec-WebSocket-Key:"], 400),
    ],
)
def test_a_handshake_that_is_none_is_refused(
    tmp_path: Path, headers: list[str], status: int
) -> None:
    async def test(worker: WebWorker) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port())
        lines = ["GET /guest?name=a HTTP/1.1", "Host: x", "Connection: Upgrade"]
        lines += ["Upgrade: websocket", *headers]
        if not any("Version" in header for header in headers):
            lines.append("Sec-WebSocket-Version: 13")
        if not any("Key" in header for header in headers):
            lines.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        assert f" {status} ".encode() in await reader.readline()
        writer.close()
        assert worker.metric("websocket_refusals_total", reason="invalid") == 1

    run_with_worker(tmp_path, PLUGIN, test)


def test_push_reaches_a_user_a_room_or_one_connection_and_says_how_many(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        async with (
            guest(worker, "ann") as ann,
            guest(worker, "ann") as also,
            guest(worker, "b") as b,
        ):
            await say(ann, "+tea")
            await say(b, "+tea", "+cake", "-tea")
            await say(also, "here")
            assert await push("to ann", user="ann") == 2
            assert [await ann.recv(), await also.recv()] == ["to ann", "to ann"]
            assert await push({"n": 1}, room="tea") == 1
            assert json.loads(await ann.recv()) == {"n": 1}
            assert await push(b"\x00", room="cake") == 1
            assert await b.recv() == b"\x00"
            (row,) = await presence(user="b")
            assert row["rooms"] == ["cake"]
            assert row["worker"] == "web.0@7"
            assert await push("one", connection=row["id"]) == 1
            assert await b.recv() == "one"
            assert await push("nobody", user="c") == 0
            assert await broadcast("all") == 3
            assert [await c.recv() for c in (ann, also, b)] == ["all"] * 3
        await wait_until_async(nobody_there)

    run_with_worker(tmp_path, PLUGIN, test)


async def nobody_there() -> bool:
    return await presence() == []


def test_a_script_without_an_event_loop_pushes_too(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        async with guest(worker, "ann") as ann:
            await say(ann, "here")
            assert await asyncio.to_thread(push_sync, "hello", user="ann") == 1
            assert await ann.recv() == "hello"

    run_with_worker(tmp_path, PLUGIN, test)


def test_what_a_killed_worker_has_left_is_swept_and_its_own_taken_away(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "web.1@3.999999999.sock").touch()

    async def test(worker: WebWorker) -> None:
        (own,) = mesh.iterdir()
        assert own.name.startswith("web.0@7.")

    run_with_worker(tmp_path, PLUGIN, test)
    assert list(mesh.iterdir()) == []


def test_what_is_pushed_from_one_place_arrives_in_order(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        async with guest(worker, "ann") as ann:
            await say(ann, "here")
            assert sum(await asyncio.gather(*(push(str(i), user="ann") for i in range(200)))) == 200
            assert [int(await ann.recv()) for _ in range(200)] == list(range(200))

    run_with_worker(tmp_path, PLUGIN, test)


def test_disconnect_closes_with_a_code_and_a_reason(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        async with guest(worker, "ann") as ann:
            await say(ann, "here")
            assert await disconnect(user="ann", code=4001, reason="bye") == 1
            assert await closed_with(ann) == 4001
            assert ann.close_reason == "bye"
        await wait_until_async(lambda: Guest.closed == [(4001, "bye")])
        with pytest.raises(PlatformError, match="1001"):
            await disconnect(user="ann", code=1001)
        with pytest.raises(PlatformError, match="exactly one of user="):
            await push("x")
        with pytest.raises(PlatformError, match="exactly one of user="):
            await push("x", user="a", room="b")

    run_with_worker(tmp_path, PLUGIN, test)


def test_starlette_s_own_websockets_have_users_too_and_end_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(worker: WebWorker) -> None:
        async with connect(worker.url("/own")) as own:
            await say(own, "hello")
            assert await push("hey", user="own") == 1
            assert await own.recv() == "hey"
            (row,) = await connections("http")
            assert row["path"] == "/own"
        await wait_until_async(
            lambda: worker.metric("websocket_closes_total", route="/own", code="1000") == 1
        )

    run_with_worker(tmp_path, PLUGIN, test)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_handler_that_fails_is_1011_and_one_without_an_answer_500(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A22: one that exited ended the whole worker."""

    async def test(worker: WebWorker) -> None:
        async with guest(worker, "ann") as ann:
            await ann.send("!fail")
            assert await closed_with(ann) == 1011
        async with guest(worker, "bob") as bob:
            await bob.send("!exit")
            assert await closed_with(bob) == 1011
        await wait_until_async(lambda: Guest.closed == [(1011, "")] * 2)
        with pytest.raises(InvalidStatus) as refused:
            await connect(worker.url("/silent"))
        assert refused.value.response.status_code == 500

    run_with_worker(tmp_path, PLUGIN, test)
    assert "LookupError: as told" in caplog.text
    assert "/silent ended without an answer" in caplog.text


def test_too_large_a_message_is_1009_whole_or_in_fragments(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        for fragments in (1, 3):
            client = await RawWebSocket.connect(worker.port(), "/guest?name=a")
            part = b"x" * (1200 // fragments)
            for i in range(fragments):
                last = i == fragments - 1
                await client.send(client.frame(0 if i else TEXT, part, fin=last))
            # It goes on sending, and still learns why
            await client.send(client.frame(PING, b"x") * 1000)
            assert close_of(await client.rest()) == 1009
        await wait_until_async(
            lambda: worker.metric("websocket_closes_total", route="/guest", code="1009") == 2
        )

    run_with_worker(tmp_path, PLUGIN, test, websocket_message_limit=1000)


def test_a_client_that_does_not_read_is_closed_and_the_others_are_reached(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        slow = await RawWebSocket.connect(worker.port(), "/guest?name=all")
        slow.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with guest(worker, "all") as quick:
            await say(quick, "here")
            reached, sent = 2, 0
            while reached == 2:
                reached, sent = await push("x" * 50_000, user="all"), sent + 1
                assert len(await quick.recv()) == 50_000
            assert reached == 1
            # What waited was bounded: the limit, and what the kernel takes
            assert sent * 50_000 < 200_000 + 16_000_000
            await wait_until_async(
                lambda: worker.metric("websocket_closes_total", route="/guest", code="1013") == 1
            )
        slow.writer.transport.abort()

    run_with_worker(tmp_path, PLUGIN, test, websocket_send_limit=200_000)


def test_a_handler_that_sends_waits_for_a_slow_client(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        slow = await RawWebSocket.connect(worker.port(), "/guest?name=a")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await slow.send(slow.frame(TEXT, b"!flood"))

        async def stalled() -> bool:
            before = worker.metric("websocket_messages_total", route="/guest", direction="out")
            await asyncio.sleep(0.05)
            return (
                0
                < before
                == worker.metric("websocket_messages_total", route="/guest", direction="out")
            )

        await wait_until_async(stalled)
        slow.writer.transport.abort()
        await wait_until_async(lambda: Guest.closed)

    run_with_worker(tmp_path, PLUGIN, test)


def test_who_does_not_answer_pings_is_cut_off_and_who_is_silent_too_long_is_closed(
    tmp_path: Path,
) -> None:
    async def half_open(worker: WebWorker) -> None:
        gone = await RawWebSocket.connect(worker.port(), "/guest?name=a")
        async with asyncio.timeout(20):
            frames = await gone.rest()
        assert [frame[0] for frame in frames] == [PING, CLOSE]
        await wait_until_async(
            lambda: worker.metric("websocket_closes_total", route="/guest", code="1011") == 1
        )

    async def idle(worker: WebWorker) -> None:
        async with guest(worker, "ann") as ann:
            await say(ann, "here")
            assert await closed_with(ann) == 1000
            assert ann.close_reason == "idle"

    run_with_worker(tmp_path, PLUGIN, half_open, websocket_ping=0.1)
    run_with_worker(tmp_path, PLUGIN, idle, websocket_ping=0, websocket_idle_timeout=1.0)


def test_a_drain_closes_with_1012_and_those_who_do_not_answer_are_cut(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        deaf = await RawWebSocket.connect(worker.port(), "/guest?name=deaf")
        async with guest(worker, "ann") as ann, connect(worker.url("/own")) as own:
            await say(ann, "here")
            await say(own, "here")
            ending = asyncio.create_task(worker.end(seconds=1.0))
            assert [await closed_with(ann), await closed_with(own)] == [1012, 1012]
            await ending
        assert Guest.closed[-1][0] == 1012
        deaf.writer.close()

    run_with_worker(tmp_path, PLUGIN, test)


def test_a_client_that_vanishes_is_1006_for_its_handler(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        client = await RawWebSocket.connect(worker.port(), "/guest?name=a")
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await wait_until_async(lambda: [code for code, _ in Guest.closed] == [1006])
        await wait_until_async(nobody_there)
        await wait_until_async(lambda: worker.metric("websocket_connections", route="/guest") == 0)

    run_with_worker(tmp_path, PLUGIN, test)
