"""Sending and receiving with real sockets, and what hostile senders send."""

import array
import asyncio
import contextlib
import errno
import fcntl
import gc
import os
import random
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from skep.base.errors import (
    ProcessBusy,
    ProcessDown,
    ProcessError,
    ProcessGone,
    ProcessTimeout,
)
from skep.messaging import calls
from skep.messaging.address import InboxAddress
from skep.messaging.binding import PostOffice
from skep.messaging.frame import INLINE, Kind, OutgoingFrame
from skep.messaging.inbox import Inbox
from skep.messaging.waiting import run, run_blocking
from tests.support import PATIENCE, wait_until, wait_until_async

NAME = "ticker.Echo"
# What the kernel takes with net.unix.max_dgram_qlen = 10, and more where it is higher.
QUEUE = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 1


def send(office: PostOffice, body: bytes = b"x", timeout: float = PATIENCE) -> None:
    run_blocking(calls.send(office, NAME, body, timeout, "wait"))


def request(office: PostOffice, body: bytes = b"x", timeout: float = PATIENCE) -> bytes:
    return run_blocking(calls.request(office, NAME, body, timeout, "wait", 2**20))


def taken(inbox: Inbox) -> bytes:
    found = run_blocking(inbox.take())
    assert found is not None
    return found[0].body


async def echo(inbox: Inbox) -> None:
    while (found := await run(inbox.take())) is not None:
        frame, writer = found
        if writer is not None:
            with writer:
                await run(writer.write(Kind.REPLY, frame.body, None))


def descriptors() -> int:
    gc.collect()  # what tests before have left is not to end between two counts
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [0, 1, INLINE, INLINE + 1, 2**20])
def test_a_body_arrives_as_it_was_sent(office: PostOffice, inbox: Inbox, size: int) -> None:
    body = random.Random(size).randbytes(size)
    send(office, body)
    assert taken(inbox) == body

    async def ask() -> bytes:
        task = asyncio.create_task(echo(inbox))
        reply = await run(calls.request(office, NAME, body, PATIENCE, "wait", 2**20))
        inbox.stop()
        await task
        return reply

    assert asyncio.run(ask()) == body


def test_messages_of_one_sender_arrive_in_order(office: PostOffice, inbox: Inbox) -> None:
    async def send_all() -> list[bytes]:
        sending = asyncio.create_task(send_in_turn())
        found = [(await run(inbox.take())) for _ in range(200)]
        await sending
        return [one[0].body for one in found if one]

    async def send_in_turn() -> None:
        for n in range(200):
            await run(calls.send(office, NAME, b"%d" % n, PATIENCE, "wait"))

    assert asyncio.run(send_all()) == [b"%d" % n for n in range(200)]


def test_a_full_inbox_makes_senders_wait_and_does_not_spin(
    office: PostOffice, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(QUEUE):
        send(office, b"%d" % n)
    tries = 0
    really = OutgoingFrame.try_send

    def count(*arguments: Any) -> bool:
        nonlocal tries
        tries += 1
        return really(*arguments)

    monkeypatch.setattr(OutgoingFrame, "try_send", count)
    with pytest.raises(ProcessBusy, match=r"The inbox of ticker\.Echo has been full for 0\.1 s"):
        send(office, timeout=0.1)

    async def wait_in_loop() -> None:
        sending = [run(calls.send(office, NAME, b"x", 0.1, "wait")) for _ in range(50)]
        found = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(one) for one in found} == {ProcessBusy}

    asyncio.run(wait_in_loop())
    assert tries <= 51
    assert [taken(inbox) for _ in range(QUEUE)] == [b"%d" % n for n in range(QUEUE)]


@pytest.mark.parametrize("padding", [0, INLINE - 3])
def test_who_waits_longest_sends_first(office: PostOffice, inbox: Inbox, padding: int) -> None:
    """Of large messages the sender's buffer is full before the inbox is."""
    bodies = [b"%03d" % n + b"x" * padding for n in range(QUEUE + 100)]

    async def send_many() -> list[bytes]:
        sending = [
            asyncio.create_task(run(calls.send(office, NAME, body, PATIENCE, "wait")))
            for body in bodies
        ]
        await asyncio.sleep(0)
        found = [await run(inbox.take()) for _ in sending]
        await asyncio.gather(*sending)
        return [one[0].body for one in found if one]

    found = asyncio.run(send_many())
    assert found == bodies


def test_a_message_waits_for_a_process_or_fails(
    office: PostOffice, address: InboxAddress, inbox: Inbox
) -> None:
    inbox.stop()
    assert not address.is_up
    with pytest.raises(ProcessDown, match=r"No process ticker\.Echo runs in .*was not to wait"):
        run_blocking(calls.send(office, NAME, b"x", 1.0, "fail"))
    send(office, b"waits")
    with pytest.raises(ProcessDown, match=r"none has come up within 0\.05 s"):
        request(office, timeout=0.05)
    successor = Inbox(address, socket.socket(fileno=os.dup(inbox._sock.fileno())), 2**20)
    successor.hold()
    assert address.is_up
    assert taken(successor) == b"waits"
    run_blocking(calls.send(office, NAME, b"y", 1.0, "fail"))
    successor.close()


def test_a_caller_learns_at_once_that_the_process_is_gone(office: PostOffice, inbox: Inbox) -> None:
    async def ask() -> None:
        asking = asyncio.create_task(run(calls.request(office, NAME, b"x", 3600.0, "wait", 2**20)))
        found = await run(inbox.take())
        assert found is not None
        assert found[1] is not None
        found[1].close()
        await asking

    with pytest.raises(ProcessGone, match=r"ticker\.Echo ended, or gave the caller up"):
        asyncio.run(ask())


def test_what_waits_in_an_inbox_that_is_closed_fails_at_once(
    office: PostOffice, inbox: Inbox
) -> None:
    async def ask() -> None:
        asking = asyncio.create_task(run(calls.request(office, NAME, b"x", 3600.0, "wait", 2**20)))
        await asyncio.sleep(0)
        inbox.close()
        await asking

    with pytest.raises(ProcessGone):
        asyncio.run(ask())
    with pytest.raises(ProcessDown, match="No platform runs in"):
        send(office)


def test_senders_find_the_inbox_of_a_new_platform(
    office: PostOffice, address: InboxAddress, inbox: Inbox
) -> None:
    send(office)
    inbox.close()
    following = Inbox(address, address.bind(), 2**20)
    send(office, b"new")
    assert taken(following) == b"new"
    following.close()


def test_senders_that_wait_move_on_to_the_inbox_of_a_new_platform(
    office: PostOffice, address: InboxAddress, inbox: Inbox
) -> None:
    for _ in range(QUEUE):
        send(office)

    async def move() -> bytes:
        waiting = asyncio.create_task(run(calls.send(office, NAME, b"moved", 60.0, "wait")))
        await asyncio.sleep(0)
        sock = address.bind()
        inbox.close()
        following = Inbox(address, sock, 2**20)
        await waiting
        found = await run(following.take())
        following.close()
        assert found is not None
        return found[0].body

    assert asyncio.run(move()) == b"moved"


def test_a_request_whose_reply_is_late_raises_a_timeout(office: PostOffice, inbox: Inbox) -> None:
    with pytest.raises(ProcessTimeout, match=r"ticker\.Echo did not reply within 0\.05 s") as late:
        request(office, timeout=0.05)
    assert isinstance(late.value, TimeoutError)


def test_a_cancelled_caller_leaves_nothing_behind(office: PostOffice, inbox: Inbox) -> None:
    send(office)
    taken(inbox)

    async def cancel() -> tuple[int, int]:
        before = descriptors()
        asking = [
            asyncio.create_task(run(calls.request(office, NAME, b"x", 60.0, "wait", 2**20)))
            for _ in range(QUEUE + 20)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert all(one.cancelled() for one in asking)
        for _ in range(QUEUE):
            found = await run(inbox.take())
            assert found is not None
            writer = found[1]
            assert writer is not None
            assert writer.is_abandoned
            assert not await run(writer.write(Kind.REPLY, b"late", 1.0))
        del found, writer
        return before, descriptors()

    before, after = asyncio.run(cancel())
    assert after == before


@pytest.mark.parametrize("large", [False, True])
def test_ten_thousand_requests_leave_the_descriptors_as_they_were(
    office: PostOffice, inbox: Inbox, large: bool
) -> None:
    body = b"x" * (INLINE + 1 if large else 10)
    times = 1000 if large else 10_000

    async def ask_all() -> tuple[int, int]:
        task = asyncio.create_task(echo(inbox))
        await run(calls.request(office, NAME, body, PATIENCE, "wait", 2**20))
        before = descriptors()
        for _ in range(times):
            assert await run(calls.request(office, NAME, body, PATIENCE, "wait", 2**20)) == body
        after = descriptors()
        inbox.stop()
        await task
        return before, after

    before, after = asyncio.run(ask_all())
    assert after == before


def test_threads_and_loops_send_through_one_outbox(office: PostOffice, inbox: Inbox) -> None:
    def send_some(number: int) -> None:
        for n in range(100):
            send(office, b"%d.%d" % (number, n))

    async def send_in_loop() -> None:
        for n in range(100):
            await run(calls.send(office, NAME, b"loop.%d" % n, PATIENCE, "wait"))

    threads = [threading.Thread(target=send_some, args=(n,)) for n in range(4)]
    threads.append(threading.Thread(target=lambda: asyncio.run(send_in_loop())))
    for thread in threads:
        thread.start()
    found = [taken(inbox) for _ in range(500)]
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(found)) == 500


def memory(size: int, seals: int = 0) -> int:
    made = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(made, size)
    fcntl.fcntl(made, fcntl.F_ADD_SEALS, seals)
    return made


HEAD = b"skp1"
SEALED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def head(kind: int, flags: int = 0, context: int = 0, length: int = 0) -> bytes:
    return HEAD + bytes([kind, flags]) + context.to_bytes(2, "big") + length.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("data", "passed"),
    [
        (b"", []),
        (b"x", []),
        (b"x" * 40_000, []),
        (b"\0" * 12, []),
        (head(0), []),
        (head(99), []),
        (head(4), []),
        (head(6), []),
        (head(1, flags=2), []),
        (head(1, length=5), []),
        (head(1, length=5) + b"12345678", []),
        (head(1, context=65535), []),
        (head(2), []),
        (head(2), ["file"]),
        (head(2), ["pipe"]),
        (head(2), ["tcp"]),
        (head(2), ["datagram"]),
        (head(2), ["pair", "pair"]),
        (head(1), ["pair"]),
        (head(1), ["pair"] * 100),
        (head(1, flags=1, length=100), []),
        (head(1, flags=1, length=100), ["pair"]),
        (head(1, flags=1, length=100), ["pipe"]),
        (head(1, flags=1, length=100), ["file"]),
        (head(1, flags=1, length=100), ["unsealed"]),
        (head(1, flags=1, length=100), ["short"]),
        (head(2, flags=1, length=100), ["pair", "short"]),
        (head(2, flags=1, length=100), ["short", "pair"]),
    ],
)  # fmt: skip
def test_what_is_not_a_message_is_dropped_and_hurts_nothing(
    office: PostOffice,
    inbox: Inbox,
    address: InboxAddress,
    refused: list[str],
    data: bytes,
    passed: list[str],
) -> None:
    sender = address.connect()
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pipe = os.pipe()
    tcp, datagram = socket.socket(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    kinds = {
        "pair": pair[0].fileno(),
        "pipe": pipe[0],
        "tcp": tcp.fileno(),
        "datagram": datagram.fileno(),
        "file": os.open(__file__, os.O_RDONLY),
        "unsealed": memory(100),
        "short": memory(10, SEALED),
    }
    send(office)  # the socket to it is open from now on
    taken(inbox)
    before = descriptors()
    beside = array.array("i", [kinds[name] for name in passed])
    sender.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, beside)] if passed else [])
    send(office, b"good")
    assert taken(inbox) == b"good"
    assert refused == ["malformed"]
    assert descriptors() == before
    for sock in (sender, *pair, tcp, datagram):
        sock.close()
    for name in ("file", "unsealed", "short"):
        os.close(kinds[name])
    for end in pipe:
        os.close(end)


def test_garbage_of_any_kind_is_dropped(
    office: PostOffice, inbox: Inbox, address: InboxAddress, refused: list[str]
) -> None:
    dice = random.Random(13)
    with address.connect() as sender:
        for _ in range(300):
            sender.send(dice.randbytes(dice.randrange(64)))
            sender.send(head(dice.randrange(2, 256), dice.randrange(256)) + dice.randbytes(9))
            send(office, b"good")
            assert taken(inbox) == b"good"
    assert len(refused) == 600


def test_a_reply_end_that_is_useless_does_not_hold_up_the_process(
    inbox: Inbox, address: InboxAddress
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            theirs.send(b"x" * 1000)
    alone = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with address.connect() as sender:
        for end in (theirs, alone):
            frame = OutgoingFrame(Kind.REQUEST)
            assert frame.try_send(sender, end)
            found = run_blocking(inbox.take())
            assert found is not None
            writer = found[1]
            assert writer is not None
            assert not run_blocking(writer.write(Kind.REPLY, b"y", 0.05))
            assert writer.is_closed
    for sock in (ours, theirs, alone):
        sock.close()


def test_a_slow_reader_makes_the_writer_of_a_stream_wait(office: PostOffice, inbox: Inbox) -> None:
    opened = calls.OpenStream(office, NAME, b"x", PATIENCE, "wait", 2**20)
    sent = 0

    def write() -> None:
        nonlocal sent
        found = run_blocking(inbox.take())
        assert found is not None
        assert found[1] is not None
        for n in range(2000):
            assert run_blocking(found[1].write(Kind.PART, b"%d" % n * 100, None))
            sent = n + 1
        run_blocking(found[1].write(Kind.END, b"", None))

    writing = threading.Thread(target=write)
    writing.start()
    first = run_blocking(opened.next())
    assert first == b"0" * 100
    wait_until(lambda: sent > 50)
    found = [first]
    while (part := run_blocking(opened.next())) is not None:
        found.append(part)
    writing.join(PATIENCE)
    assert found == [b"%d" % n * 100 for n in range(2000)]
    assert run_blocking(opened.next()) is None


def test_a_long_name_and_a_long_path_have_an_inbox_too(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    for name in ("ticker.Echo", "p" * 200 + ".Echo", "türöffner.Größe"):
        office, address = PostOffice(folder), InboxAddress(folder, name)
        before = descriptors()
        inbox = Inbox(address, address.bind(), 100)
        assert oct(address.path.stat().st_mode & 0o777) == "0o600"
        assert oct(folder.stat().st_mode & 0o777) == "0o700"
        run_blocking(calls.send(office, name, b"x", 1.0, "wait"))
        assert taken(inbox) == b"x"
        inbox.close()
        office.outbox.close()
        assert descriptors() == before
        address.remove()
        assert not address.path.exists()


def test_an_inbox_that_was_removed_is_told_from_a_process_that_does_not_exist(
    tmp_path: Path,
) -> None:
    office, address = PostOffice(tmp_path), InboxAddress(tmp_path, "ticker.Echo")
    with address.bind():
        held = address.hold()
        address.path.unlink()
        with pytest.raises(ProcessDown, match=r"ticker\.Echo runs, but its inbox .* was removed"):
            send(office)
        os.close(held)
        with pytest.raises(ProcessDown, match="No platform runs in"):
            send(office)


def test_a_call_without_a_platform_says_so(tmp_path: Path) -> None:
    office = PostOffice(tmp_path / "inboxes")
    with pytest.raises(ProcessDown, match=f"No platform runs in {tmp_path}, so ticker.Echo"):
        send(office)
    (tmp_path / "inboxes").mkdir()
    lock = os.open(tmp_path / "supervisor.lock", os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(lock, fcntl.F_OFD_SETLK, b"\1\0" + b"\0" * 30)
    with pytest.raises(ProcessDown, match=r"has no process ticker\.Echo with an inbox: put"):
        send(office)
    os.close(lock)


@pytest.mark.parametrize(("timeout", "if_down"), [(-1, "wait"), ("1", "wait"), (1, "never")])
def test_terms_that_are_not_possible_are_refused(
    office: PostOffice, inbox: Inbox, timeout: float, if_down: str
) -> None:
    with pytest.raises(ValueError, match=r"ticker\.Echo: (timeout|if_down) is"):
        run_blocking(calls.send(office, NAME, b"x", timeout, if_down))


def test_no_descriptor_left_is_an_error_of_the_call(
    office: PostOffice, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", refuse)
    with pytest.raises(ProcessError, match=r"ticker\.Echo cannot be asked: Too many open files"):
        request(office)


def test_stop_ends_all_that_wait_for_a_message(office: PostOffice, inbox: Inbox) -> None:
    ended: list[object] = []
    waiting = threading.Thread(target=lambda: ended.append(run_blocking(inbox.take())))
    waiting.start()

    async def wait() -> None:
        tasks = [asyncio.create_task(run(inbox.take())) for _ in range(3)]
        await wait_until_async(lambda: True)
        inbox.stop()
        assert await asyncio.gather(*tasks) == [None] * 3

    asyncio.run(wait())
    waiting.join(PATIENCE)
    assert ended == [None]
