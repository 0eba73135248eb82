"""Every row of `http_payloads.py`, through both parsers; one worker answers all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from skep import Plugin
from tests.process.http_payloads import (
    H11_IS_LENIENT,
    KEY,
    OPTIONS,
    ROWS,
    TALKS,
    VERSION,
    Row,
    Seen,
    Talk,
    shake,
)
from tests.raw_websocket import CLOSE, PONG, RawWebSocket
from tests.website import Connection, Website, request, run_website

T = TypeVar("T")
PROBE = "/probe"
# So many rows at a time: each waits for the worker, and a few for its deadlines.
AT_ONCE = 40


class Recorder:
    """An application that notes all that it sees, by the port of the client."""

    def __init__(self) -> None:
        self.seen: dict[int, list[dict[str, Any]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note: dict[str, Any] = dict(scope)
        self.seen.setdefault(scope["client"][1], []).append(note)
        if scope["type"] == "websocket":
            await self.talk(note, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                note["body"] = None
                return
            body, more = body + message["body"], message["more_body"]
        note["body"] = body
        headers = {"x-probe": "1"} if note["path"] == PROBE else {}
        await Response(b"seen", headers=headers)(scope, receive, send)

    async def talk(self, note: dict[str, Any], receive: Receive, send: Send) -> None:
        note["messages"] = []
        await receive()
        if note["path"] == "/later":
            await receive()
            return
        await send({"type": f"websocket.{'close' if note['path'] == '/no' else 'accept'}"})
        while (message := await receive())["type"] == "websocket.receive":
            note["messages"].append(_content(message))


def _content(message: Message) -> Any:
    text = message.get("text")
    return message["bytes"] if text is None else text


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_every_request_of_the_table_is_answered_as_the_standards_say(parser: str) -> None:
    """E1, D5, E4, E5, E6, E11, E12, E13, D25: what a client gets, and what the application sees."""
    recorder = Recorder()

    async def test(site: Website) -> None:
        async def check(row: Row) -> str:
            lenient = parser == "h11" and row.name in H11_IS_LENIENT
            found = await outcome(site, row, recorder)
            wanted = _wanted(row, found[1])
            return "" if lenient or found == wanted else f"{row.name}: {found}, not {wanted}"

        wrong = await at_once(check, ROWS)
        assert not any(wrong), "\n".join(filter(None, wrong))

    run_website(Plugin(mounts={"/": recorder}), test, http=parser, **OPTIONS)


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_every_talk_of_the_table_ends_as_the_standard_says(parser: str) -> None:
    """E9: what frames do to a WebSocket, and what of them the application sees."""
    recorder = Recorder()

    async def test(site: Website) -> None:
        async def check(talk: Talk) -> str:
            found = await conversation(site, talk, recorder)
            pongs = found[2] if talk.pongs is None else list(talk.pongs)
            wanted = (list(talk.messages), talk.code, pongs)
            return "" if found == wanted else f"{talk.name}: {found}, not {wanted}"

        wrong = await at_once(check, TALKS)
        assert not any(wrong), "\n".join(filter(None, wrong))

    run_website(Plugin(mounts={"/": recorder}), test, http=parser, **OPTIONS)


def test_the_table_is_large_and_no_row_is_there_twice() -> None:
    names = [row.name for row in ROWS] + [talk.name for talk in TALKS]
    assert len(set(names)) == len(names) >= 200
    assert set(names) > H11_IS_LENIENT


async def at_once(check: Callable[[T], Awaitable[str]], rows: Sequence[T]) -> list[str]:
    """Check all rows, a number of them at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(row: T) -> str:
        async with places:
            return await check(row)

    return await asyncio.gather(*map(one, rows))


async def outcome(site: Website, row: Row, recorder: Recorder) -> tuple[Any, list[dict[str, Any]]]:
    """Send what a row says; return the statuses, and what the application saw."""
    connection = await site.connect()
    port = connection.writer.get_extra_info("sockname")[1]
    connection.writer.write(row.sent)
    if row.half_closes:
        connection.writer.write_eof()
    statuses = await answers(connection, row)
    return statuses, [note for note in recorder.seen.get(port, []) if note["path"] != PROBE]


def _wanted(row: Row, seen: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """Return the outcome that is wanted; what is seen beyond that, as it is."""
    if len(seen) != len(row.expected):
        return row.statuses, [dict(wanted) for wanted in row.expected]
    pairs = zip(row.expected, seen, strict=True)
    return row.statuses, [note if _fits(wanted, note) else dict(wanted) for wanted, note in pairs]


def _fits(wanted: Seen, note: dict[str, Any]) -> bool:
    headers: dict[str, str] = {}
    for name, value in note["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}|{text}" if key in headers else text
    expected = dict(wanted)
    named = expected.pop("headers", {})
    return all(headers.get(name) == value for name, value in named.items()) and all(
        note.get(key) == value for key, value in expected.items()
    )


async def answers(connection: Connection, row: Row) -> tuple[int, ...]:
    """Return the statuses of all answers. A connection that is kept is tried with one more request,
    whose answer is not among them."""
    statuses: list[int] = []
    head_only, probed = row.sent.startswith(b"HEAD"), False
    while True:
        try:
            answer = await connection.answer(head_only=head_only)
        except (asyncio.IncompleteReadError, ConnectionError):
            return tuple(statuses)
        if answer.headers.get("x-probe"):
            return tuple(statuses)
        statuses.append(answer.status)
        if answer.status == 101:
            return tuple(statuses)
        if answer.status == 413:
            return (413,)
        is_last = len(statuses) >= len(row.statuses)
        is_kept = answer.headers.get("connection") != "close" and not row.half_closes
        if is_last and is_kept and not probed:
            probed, head_only = True, False
            await connection.send(request(PROBE))


async def conversation(site: Website, talk: Talk, recorder: Recorder) -> tuple[Any, int, Any]:
    """Open a WebSocket and send what a row says; return messages, close code and pongs."""
    connection = await site.connect()
    port = connection.writer.get_extra_info("sockname")[1]
    socket = RawWebSocket(connection.reader, connection.writer)
    # Some of it comes with the handshake, before the answer to that
    connection.writer.write(shake(KEY, VERSION) + talk.sent[:3])
    await connection.answer(head_only=True)
    connection.writer.write(talk.sent[3:])
    if not talk.code:
        connection.writer.write(socket.frame(CLOSE, b"\x0f\xa0"))  # 4000
    code, pongs = 1006, []
    async with asyncio.timeout(10):
        while (frame := await socket.read()) is not None:
            if frame[0] == PONG:
                pongs.append(frame[1])
            elif frame[0] == CLOSE:
                code = int.from_bytes(frame[1][:2], "big") if frame[1] else 1005
    (note,) = recorder.seen[port]
    return note["messages"], 0 if code == 4000 else code, pongs
