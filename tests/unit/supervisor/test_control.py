"""Questions and answers on the control socket."""

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skep.base.errors import NotRunning
from skep.base.rundir import bind_unix
from skep.supervisor.control import Control, Refusal
from skep.wire import control


async def double(arguments: Mapping[str, Any]) -> Any:
    return arguments["n"] * 2


async def refuse(arguments: Mapping[str, Any]) -> Any:
    raise Refusal("Not today.", "busy")


async def wait(arguments: Mapping[str, Any]) -> Any:
    await asyncio.Event().wait()


def serving(path: Path, test: Any) -> None:
    async def main() -> None:
        server = Control({"double": double, "refuse": refuse, "wait": wait})
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
        assert "double, refuse" in answer["error"]

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
