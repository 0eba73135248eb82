"""Questions and answers on the control socket."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skep.base.errors import NotRunning
from skep.base.rundir import bind_unix
from skep.base.sockets.peer import Peer
from skep.supervisor.control.records import Audit, Operations
from skep.supervisor.control.server import (
    MOST_CLIENTS,
    CommandRefused,
    ControlServer,
    current_caller,
)
from skep.supervisor.processes.events import Events
from skep.wire import control
from tests.support import wait_until_async


async def double(arguments: Mapping[str, Any]) -> Any:
    return arguments["n"] * 2


async def refuse(arguments: Mapping[str, Any]) -> Any:
    raise CommandRefused("Not today.", "busy")


async def wait(arguments: Mapping[str, Any]) -> Any:
    await asyncio.Event().wait()


async def narrate(arguments: Mapping[str, Any]) -> Any:
    caller = current_caller()
    assert caller is not None
    for phase in ("planning", "preparing"):
        caller.tell({"phase": phase})
    return [caller.peer.uid, caller.peer.pid]


def serving(path: Path, test: Any, audit: Audit | None = None) -> None:
    async def main() -> None:
        commands = {"double": double, "refuse": refuse, "wait": wait, "narrate": narrate}
        server = ControlServer(commands, audit)
        await server.start(bind_unix(path))
        try:
            await test()
        finally:
            await server.stop()

    asyncio.run(main())


def test_a_question_is_answered(tmp_path: Path) -> None:
    async def test() -> None:
        assert await control.ask(tmp_path / "c", "double", n=21) == 42
        assert await asyncio.to_thread(control.call, tmp_path / "c", "double", n=2) == 4

    serving(tmp_path / "c", test)


def test_a_refusal_arrives_as_its_sentence_and_its_word(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(control.CommandFailed, match="Not today") as caught:
            await control.ask(tmp_path / "c", "refuse")
        assert caught.value.code == "busy"

    serving(tmp_path / "c", test)


@pytest.mark.parametrize("question", [b"{", b"[1]", b'{"cmd": "nothing"}', b"\xff\xfe"])
def test_nonsense_is_answered_with_what_could_be_asked(tmp_path: Path, question: bytes) -> None:
    async def test() -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "c")
        writer.write(question + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        assert answer["ok"] is False
        assert "double, narrate, refuse" in answer["error"]

    serving(tmp_path / "c", test)


def test_who_sends_too_much_or_leaves_disturbs_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        for noise in (b"x" * 200_000, b"half a line"):
            _, writer = await asyncio.open_unix_connection(tmp_path / "c")
            writer.write(noise)
            writer.close()
        assert await control.ask(tmp_path / "c", "double", n=1) == 2

    serving(tmp_path / "c", test)


def test_a_stop_does_not_wait_for_who_is_still_waiting(tmp_path: Path) -> None:
    async def test() -> None:
        question = asyncio.create_task(control.ask(tmp_path / "c", "wait"))
        await asyncio.wait({question}, timeout=0.1)
        assert not question.done()
        question.cancel()

    serving(tmp_path / "c", test)


def test_nobody_there_is_said_with_the_way_to_change_it(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="platform start"):
        control.call(tmp_path / "c", "double")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "c"))
    with pytest.raises(NotRunning, match="platform start"):
        control.call(tmp_path / "c", "double")


def test_who_asks_for_news_gets_them_before_the_answer_and_others_do_not(tmp_path: Path) -> None:
    news: list[Any] = []

    async def test() -> None:
        me = [os.getuid(), os.getpid()]
        told = await asyncio.to_thread(control.call, tmp_path / "c", "narrate", news=news.append)
        assert told == me
        assert await control.ask(tmp_path / "c", "narrate") == me

    serving(tmp_path / "c", test)
    assert news == [{"phase": "planning"}, {"phase": "preparing"}]


def test_only_root_and_we_ourselves_are_trusted() -> None:
    assert Peer(1, 0).trusted
    assert Peer(1, os.geteuid()).trusted
    assert not Peer(1, os.geteuid() + 1).trusted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_although_the_socket_lets_it_in(tmp_path: Path) -> None:
    path = tmp_path / "c"
    client = (
        "import os, socket, sys; sock = socket.socket(socket.AF_UNIX); os.chdir(sys.argv[1])\n"
        "os.setgid(65534); os.setuid(65534); sock.connect('c')\n"
        'sock.sendall(b\'{"cmd": "double", "args": {"n": 1}}\\n\')\n'
        "print(sock.makefile().readline())"
    )

    async def test() -> None:
        tmp_path.chmod(0o755)
        path.chmod(0o666)
        command = [sys.executable, "-c", client, str(tmp_path)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout)
        assert (answer["ok"], answer["code"]) == (False, "permission")
        assert await control.ask(path, "double", n=1) == 2

    serving(path, test)


def test_there_are_only_so_many_clients_at_a_time(tmp_path: Path) -> None:
    async def test() -> None:
        silent = [await asyncio.open_unix_connection(tmp_path / "c") for _ in range(MOST_CLIENTS)]
        with pytest.raises(control.CommandFailed, match="clients") as caught:
            await control.ask(tmp_path / "c", "double", n=1)
        assert caught.value.code == "busy"
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        assert await wait_until_async(lambda: _double(tmp_path / "c")) == 2

    serving(tmp_path / "c", test)


async def _double(path: Path) -> Any:
    try:
        return await control.ask(path, "double", n=1)
    except control.CommandFailed:
        return None


def test_what_is_over_with_its_answer_is_an_operation(tmp_path: Path) -> None:
    operations = Operations(tmp_path / "o", time.time, Events())

    async def scale(arguments: Mapping[str, Any]) -> Any:
        if arguments["count"] == 0:
            raise CommandRefused("One is needed.")

    async def test() -> None:
        server = ControlServer({"scale": scale}, operations=operations)
        await server.start(bind_unix(tmp_path / "c"))
        await control.ask(tmp_path / "c", "scale", kind="web", count=4)
        with pytest.raises(control.CommandFailed):
            await control.ask(tmp_path / "c", "scale", kind="web", count=0)
        await server.stop()

    asyncio.run(test())
    done = [(e["what"], e["reason"], e["outcome"]) for e in operations.latest()]
    assert done == [("scale", "web 4", "ok"), ("scale", "web 0", "refused")]


def test_what_changes_something_is_written_down_with_who_asked(tmp_path: Path) -> None:
    async def test() -> None:
        await control.ask(tmp_path / "c", "double", n=1, api_token="s3cr3t")
        with pytest.raises(control.CommandFailed):
            await control.ask(tmp_path / "c", "refuse")

    serving(tmp_path / "c", test, Audit(tmp_path / "audit.jsonl"))
    first, second = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert first.pop("ts").endswith("Z")
    assert first == {
        "uid": os.getuid(),
        "pid": os.getpid(),
        "command": "double",
        "arguments": {"n": 1, "api_token": "******"},
        "outcome": "ok",
    }
    assert (second["command"], second["outcome"]) == ("refuse", "busy")
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600
