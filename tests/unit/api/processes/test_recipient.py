"""Custom processes and their callers, in a lab: real sockets, without a platform."""

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from skep import (
    MessageInvalid,
    MessageTooLarge,
    Plugin,
    Process,
    ProcessDown,
    ProcessError,
    ProcessFailed,
    ProcessGone,
    ProcessTimeout,
)
from skep.api.processes.content import Content
from skep.api.processes.context import ProcessContext
from skep.api.processes.message import Message
from skep.api.processes.process import problem_of
from skep.base.errors import Undeclared
from skep.base.logs import correlation
from skep.testing import ManualLab, manual
from tests.support import PATIENCE


@dataclass
class Job:
    number: int
    name: str = "n"


class Done(BaseModel):
    ok: bool


class Echo(Process):
    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            await message.reply({"echo": message.body})


class SyncEcho(Process):
    def run(self, ctx: ProcessContext) -> None:
        for message in ctx.messages():
            message.reply_sync({"echo": message.body})


class Count(Process):
    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            for n in range(message.body["n"]):
                if not await message.reply(n):
                    COUNTED.append(n)
                    break


class SyncCount(Process):
    def run(self, ctx: ProcessContext) -> None:
        for message in ctx.messages():
            for n in range(message.body["n"]):
                message.reply_sync(n)
            message.end_sync()


COUNTED: list[int] = []


class Typed(Process, message=Job, reply=Done, largest=1000):
    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            assert isinstance(message.body, Job)
            match message.body.name:
                case "bad":
                    assert not await message.reply("not Done")
                case "large":
                    assert not await message.reply({"ok": True, "more": "x" * 1000})
                case _:
                    await message.reply(Done(ok=message.body.number > 0))


class Moody(Process):
    """What can go wrong with replies."""

    async def run(self, ctx: ProcessContext) -> None:
        kept: list[Message] = []
        async for message in ctx.messages():
            match message.body:
                case "fail":
                    assert await message.fail("it is Monday")
                case "forget":
                    pass
                case "twice":
                    await message.reply(1)
                    with pytest.raises(ProcessError, match="answered this request already"):
                        await message.reply(2)
                case "keep":
                    kept.append(message.keep())
                case "release":
                    for one in kept:
                        await one.reply("late")
                    await message.reply("released")
                case "half":
                    await message.reply("a part")
                    await message.fail("no more")
                case "crash":
                    raise ValueError("as asked")
                case "block":
                    with pytest.raises(ProcessError, match="in a coroutine, await reply"):
                        message.reply_sync(1)
                    await message.reply("refused")
                case "wait":
                    while not message.abandoned:
                        await asyncio.sleep(0.001)
                    kept.append(message)


class Tiny(Process, largest=4):
    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            if message.body:
                await message.fail("a reason " * 2000)
            else:
                await message.reply("long")


class Idle(Process):
    """Never asks for its messages."""

    async def run(self, ctx: ProcessContext) -> None:
        await ctx.stopping.wait()


PLUGIN = Plugin(processes=[Echo, SyncEcho, Count, SyncCount, Typed, Moody, Tiny, Idle])


def in_lab(work: Any) -> None:
    async def run() -> None:
        async with manual({"test_recipient": PLUGIN}) as lab:
            await work(lab)

    asyncio.run(run())


async def raised(call: Coroutine[Any, Any, Any]) -> BaseException:
    with pytest.raises(ProcessError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("cls", [Echo, SyncEcho])
def test_a_request_has_a_reply(cls: type[Process]) -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(cls):
            for body in (
                None,
                True,
                7,
                -1.5,
                "text",
                [1, [2]],
                {"a": {"b": None}},
                b"\0",
                "x" * 10**6,
            ):
                assert await cls.request(body, timeout=PATIENCE) == {"echo": body}
            await cls.send("no reply")
            several = await asyncio.gather(*(cls.request(n) for n in range(100)))
            assert several == [{"echo": n} for n in range(100)]
            there = asyncio.to_thread(cls.request_sync, "in a thread")
            assert await there == {"echo": "in a thread"}
            await asyncio.to_thread(cls.send_sync, "in a thread")

    in_lab(work)


@pytest.mark.parametrize("cls", [Count, SyncCount])
def test_a_stream_has_any_number_of_replies(cls: type[Process]) -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(cls):
            for n in (0, 1, 5000):
                assert [part async for part in cls.stream({"n": n})] == list(range(n))
            there = asyncio.to_thread(lambda: list(cls.stream({"n": 3})))
            assert await there == [0, 1, 2]

    in_lab(work)


def test_a_stream_that_is_left_early_is_seen_by_the_process() -> None:
    async def work(lab: ManualLab) -> None:
        COUNTED.clear()
        async with lab.process(Count):
            async for part in Count.stream({"n": 10**9}):
                if part == 3:
                    break
            assert [part async for part in Count.stream({"n": 2})] == [0, 1]
            with Count.stream({"n": 10**9}) as stream:
                assert await anext(stream) == 0
            assert [part async for part in stream] == []
            assert [part async for part in Count.stream({"n": 2})] == [0, 1]
        assert len(COUNTED) == 2

    in_lab(work)


def test_types_are_checked_on_both_sides() -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(Typed):
            assert await Typed.request(Job(1)) == Done(ok=True)
            assert await Typed.request({"number": 0}) == Done(ok=False)
            with pytest.raises(
                TypeError, match=r"test_recipient\.Typed: a message .* Job: .*`str`"
            ):
                await Typed.request({"number": "one"})
            with pytest.raises(ValueError, match=r"a message has \d+ bytes, and 1000 is the most"):
                await Typed.request(Job(1, "x" * 1000))
            with pytest.raises(MessageInvalid, match=r"a reply.* does not fit its type"):
                await Typed.request(Job(1, "bad"))
            with pytest.raises(MessageTooLarge, match="a reply has"):
                await Typed.request(Job(1, "large"))
            # A sender that checks nothing, as one of another version may be.
            typed, Typed._messages = Typed._messages, Process._messages
            try:
                with pytest.raises(MessageInvalid, match=r"does not fit its type, which is Job"):
                    await Typed.request("nonsense")
                with pytest.raises(MessageTooLarge, match=r"1000 is the most"):
                    await Typed.request("x" * 100_000)
            finally:
                Typed._messages = typed
            assert await Typed.request(Job(1)) == Done(ok=True)

    in_lab(work)


@pytest.mark.parametrize(
    "value", [object(), {1, 2, object()}, 2**70, lambda: None], ids=["object", "set", "int", "def"]
)
def test_what_cannot_be_sent_is_refused_at_the_call(value: Any) -> None:
    async def work(lab: ManualLab) -> None:
        with pytest.raises(
            MessageInvalid, match=r"test_recipient\.Echo: a message .* cannot be sent"
        ):
            await Echo.send(value)
        with pytest.raises(MessageInvalid):
            Echo.stream(value)

    in_lab(work)


def test_a_value_without_end_is_refused() -> None:
    async def work(lab: ManualLab) -> None:
        endless: list[Any] = []
        endless.append(endless)
        assert isinstance(await raised(Echo.send(endless)), MessageInvalid)

    in_lab(work)


def test_a_process_answers_or_the_caller_learns_why(caplog: pytest.LogCaptureFixture) -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(Moody):
            failed = await raised(Moody.request("fail"))
            assert isinstance(failed, ProcessFailed)
            assert (str(failed), failed.reason) == (
                "test_recipient.Moody failed: it is Monday",
                "it is Monday",
            )
            forgotten = asyncio.create_task(raised(Moody.request("forget", timeout=3600)))
            await asyncio.sleep(0)
            assert await Moody.request("twice") == 1
            assert "went on to its next message without a reply" in str(await forgotten)
            kept = asyncio.create_task(Moody.request("keep"))
            await asyncio.sleep(0)
            assert await Moody.request("release") == "released"
            assert await kept == "late"
            stream = Moody.stream("half")
            assert await anext(stream) == "a part"
            assert isinstance(await raised(anext(stream)), ProcessFailed)
            assert [part async for part in stream] == []
            assert await Moody.request("block") == "refused"
            assert isinstance(await raised(Moody.request("wait", timeout=0.05)), ProcessTimeout)

    in_lab(work)
    assert "A request to test_recipient.Moody has no reply" in caplog.text


def test_a_reason_may_be_longer_than_a_reply() -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(Tiny):
            failed = await raised(Tiny.request(1))
            assert isinstance(failed, ProcessFailed)
            assert failed.reason == ("a reason " * 2000)[:8000]
            with pytest.raises(MessageTooLarge, match="a reply has 5 bytes, and 4 is the most"):
                await Tiny.request(0)

    in_lab(work)


def test_a_process_that_fails_is_gone_for_its_caller_and_for_the_lab(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(lab: ManualLab) -> None:
        async def crash() -> None:
            async with lab.process(Moody):
                gone = await raised(Moody.request("crash", timeout=3600))
                assert isinstance(gone, ProcessGone)

        with pytest.raises(AssertionError, match=r"process\.test_recipient\.Moody\.0 ended with"):
            await crash()

    in_lab(work)
    assert "as asked" in caplog.text


def test_a_process_that_never_asks_for_messages_is_not_up() -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(Idle):
            assert isinstance(await raised(Idle.send("x", if_down="fail")), ProcessDown)
            assert isinstance(await raised(Idle.request("x", timeout=0.01)), ProcessDown)

    in_lab(work)


def test_several_processes_share_the_messages() -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(Echo), lab.process(Echo), lab.process(Echo):
            several = await asyncio.gather(*(Echo.request(n) for n in range(300)))
            assert several == [{"echo": n} for n in range(300)]

    in_lab(work)


def test_what_waits_at_the_end_of_a_process_is_for_the_next_one() -> None:
    async def work(lab: ManualLab) -> None:
        async with lab.process(Echo):
            await Echo.request(0)
        waiting = asyncio.create_task(Echo.request(1))
        await asyncio.sleep(0)
        async with lab.process(Echo):
            assert await waiting == {"echo": 1}

    in_lab(work)


def test_calls_without_a_place_to_send_to_are_refused() -> None:
    class Stray(Process):
        async def run(self, ctx: ProcessContext) -> None: ...

    async def work(lab: ManualLab) -> None:
        with pytest.raises(
            Undeclared, match=r"is in no Plugin: declare it with Plugin\(processes="
        ):
            await Stray.send()
        with pytest.raises(ProcessError, match=r"in a coroutine, await send\(\) or request\(\)"):
            Echo.request_sync(1)
        with pytest.raises(ProcessError, match="for threads"):
            next(iter(Echo.stream(1)))
        with pytest.raises(ProcessError, match="has no inbox"):
            ProcessContext("process.x.Y.0", 1).messages()

    in_lab(work)
    os.environ.pop("PLATFORM_DATA_DIR", None)
    with pytest.raises(ProcessError, match="set PLATFORM_DATA_DIR to the data directory"):
        Echo.send_sync()


def test_everything_is_counted() -> None:
    points: list[tuple[str, dict[str, Any]]] = []

    async def work(lab: ManualLab) -> None:
        for name in ("sent", "received", "refused", "requested"):
            lab.telemetry.subscribe(
                f"process.{name}",
                lambda fields, name=name: points.append((name, fields)),  # type: ignore[misc]
            )
        async with lab.process(Typed):
            await Typed.request(Job(1))
            with pytest.raises(MessageTooLarge):
                await Typed.request(Job(1, "x" * 1000))
            with pytest.raises(MessageInvalid):
                await Typed.request(Job(1, "bad"))

    in_lab(work)
    name = Typed.registered_name()
    assert [(what, {**fields, "seconds": 0}) for what, fields in points] == [
        ("sent", {"process": name, "kind": "request", "seconds": 0}),
        ("received", {"process": name, "kind": "request", "seconds": 0}),
        ("requested", {"process": name, "seconds": 0}),
        ("refused", {"process": name, "reason": "large", "seconds": 0}),
        ("sent", {"process": name, "kind": "request", "seconds": 0}),
        ("received", {"process": name, "kind": "request", "seconds": 0}),
        ("refused", {"process": name, "reason": "invalid", "seconds": 0}),
    ]


def test_log_lines_about_a_message_have_the_request_of_its_sender() -> None:
    seen: list[str] = []

    class Watch(Process):
        async def run(self, ctx: ProcessContext) -> None:
            async for message in ctx.messages():
                seen.append(correlation.request_id())
                await message.reply()

    async def work() -> None:
        plugin = {"test_recipient": Plugin(processes=[Watch])}
        async with manual(plugin) as lab, lab.process(Watch):
            with correlation.correlated({"request_id": "r-1"}):
                await Watch.request()
            await Watch.request()

    asyncio.run(work())
    assert seen == ["r-1", ""]


class Row(TypedDict):
    n: int


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"message": 5}, r"has message = 5, which is not a type of data"),
        ({"reply": "Job"}, r"has reply = 'Job', which is not a type of data"),
        ({"largest": 0}, r"has largest = 0, which must be bytes from 1 to 268435456"),
        ({"largest": "1"}, r"has largest = '1', which must be bytes"),
        ({"largest": True}, r"has largest = True, which must be bytes"),
        ({"message": Row, "reply": list[int], "largest": 5}, ""),
    ],
)
def test_options_that_are_not_possible_are_a_problem_of_the_class(
    options: dict[str, Any], problem: str
) -> None:
    async def run(self: Any, ctx: Any) -> None: ...

    cls = type("Made", (Process,), {"run": run, "__module__": __name__}, **options)
    if problem:
        assert problem in problem_of(cls)
    else:
        assert problem_of(cls) == ""


def test_a_type_with_parameters_is_named_with_them() -> None:
    content = Content("a message", dict[str, int])
    with pytest.raises(MessageInvalid, match=r"which is dict\[str, int\]: Expected `object`"):
        content.decode("shop.Echo", b"\x01")


def test_types_are_inherited() -> None:
    class Below(Typed, largest=5):
        pass

    assert Below._messages.kind is Job
    assert (Below._messages.largest, Typed._messages.largest) == (5, 1000)


def test_an_external_program_has_no_types_of_messages() -> None:
    class Program(Process, command=["true"], message=int):
        pass

    assert problem_of(Program).endswith("an external program has no inbox")
