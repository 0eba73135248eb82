"""A socketpair that carries messages and descriptors, in order and whole."""

import asyncio
import fcntl
import os
import resource
import socket
from collections.abc import Callable

import pytest

from skep.wire.channel import BlockingChannel, Channel, pair
from skep.wire.messages import Beat, Drain, Fork, Go, Message, MetricFrame, encode
from tests.support import wait_until_async


class End:
    """One end in the running loop, and what it has heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[Message] = []
        self.descriptors: list[int] = []
        self.closed = 0
        self.channel = Channel(sock, self._hear, self._close)

    def _hear(self, message: Message, descriptors: list[int]) -> None:
        self.heard.append(message)
        self.descriptors += descriptors

    def _close(self) -> None:
        self.closed += 1


def run(test: Callable[[End, End], object]) -> None:
    async def main() -> None:
        ours, theirs = map(End, pair())
        try:
            result = test(ours, theirs)
            if asyncio.iscoroutine(result):
                await result
        finally:
            ours.channel.close()
            theirs.channel.close()

    asyncio.run(main())


def test_messages_arrive_in_order_however_many() -> None:
    async def test(ours: End, theirs: End) -> None:
        sent = [Beat(float(n)) for n in range(5000)]
        for beat in sent:
            ours.channel.send(beat)
        await wait_until_async(lambda: len(theirs.heard) == 5000)
        assert theirs.heard == sent

    run(test)


def test_a_message_larger_than_the_kernel_s_buffer_arrives_whole_and_sending_does_not_block() -> (
    None
):
    async def test(ours: End, theirs: End) -> None:
        large = MetricFrame({"set": [["x" * 1000, n] for n in range(3000)]})
        ours.channel.send(large)
        ours.channel.send(Beat(1.0))
        await wait_until_async(lambda: len(theirs.heard) == 2)
        assert theirs.heard == [large, Beat(1.0)]

    run(test)


def test_each_message_gets_its_own_descriptors() -> None:
    async def test(ours: End, theirs: End) -> None:
        pipes = [os.pipe() for _ in range(3)]
        ours.channel.send(Beat(0.0))
        for number, (read, _) in enumerate(pipes):
            ours.channel.send(Fork(f"web.{number}"), [read])
            os.close(read)
        await wait_until_async(lambda: len(theirs.heard) == 4)
        for number, (_, write) in enumerate(pipes):
            os.write(write, f"{number}".encode())
            os.close(write)
            assert os.read(theirs.descriptors[number], 10) == f"{number}".encode()
            os.close(theirs.descriptors[number])

    run(test)


def test_no_program_that_is_started_inherits_what_was_received() -> None:
    async def test(ours: End, theirs: End) -> None:
        read, write = os.pipe()
        ours.channel.send(Fork("web.0"), [read])
        await wait_until_async(lambda: theirs.heard)
        blocking_ours, blocking_theirs = pair()
        blocking_theirs.set_inheritable(True)  # as it is for who was just started
        channel = BlockingChannel(blocking_theirs)
        with blocking_ours:
            socket.send_fds(blocking_ours, [encode(Fork("web.0"))], [read])
            _, (descriptor,) = channel.receive()
        received = [channel.fileno(), descriptor, *theirs.descriptors]
        assert not any(os.get_inheritable(number) for number in received)
        channel.close()
        for number in (read, write, descriptor, *theirs.descriptors):
            os.close(number)

    run(test)


def test_descriptors_of_a_message_that_waits_survive_the_close_of_the_originals() -> None:
    async def test(ours: End, theirs: End) -> None:
        ours.channel.send(MetricFrame({"set": ["x" * 4_000_000]}))  # fills the kernel's buffer
        read, write = os.pipe()
        ours.channel.send(Go(["http"], {}, 1), [read])
        os.close(read)
        await wait_until_async(lambda: len(theirs.heard) == 2)
        os.write(write, b"still there")
        assert os.read(theirs.descriptors[0], 20) == b"still there"
        os.close(write)
        os.close(theirs.descriptors[0])

    run(test)


def test_descriptors_are_sent_once_however_many_pieces_the_message_takes() -> None:
    async def test(ours: End, theirs: End) -> None:
        (read, write), (later, later_write) = os.pipe(), os.pipe()
        # More than the kernel takes at a time: the descriptor goes with the first piece
        ours.channel.send(Go(["http"], {"state": "x" * 2_000_000}, 1), [read])
        ours.channel.send(Fork("web.0"), [later])
        os.close(read)
        os.close(later)
        await wait_until_async(lambda: len(theirs.heard) == 2)
        os.write(write, b"first")
        os.write(later_write, b"later")
        for number in theirs.descriptors:
            os.set_blocking(number, False)
        assert [os.read(number, 10) for number in theirs.descriptors] == [b"first", b"later"]
        for number in theirs.descriptors:
            os.close(number)
        # And no copy of it is left, here or there
        for number in (write, later_write):
            with pytest.raises(BrokenPipeError):
                os.write(number, b"nobody reads it")
            os.close(number)

    run(test)


def test_descriptors_that_were_not_sent_are_closed_with_the_channel() -> None:
    async def test(ours: End, theirs: End) -> None:
        read, write = os.pipe()
        ours.channel.send(MetricFrame({"set": ["x" * 4_000_000]}))  # fills the kernel's buffer
        ours.channel.send(Fork("web.0"), [read])
        os.close(read)
        ours.channel.close()
        with pytest.raises(BrokenPipeError):
            os.write(write, b"nobody reads it")
        os.close(write)

    run(test)


def test_descriptors_of_a_message_that_is_not_whole_are_closed_with_the_channel() -> None:
    async def main() -> None:
        sock, raw = pair()
        end = End(sock)
        read, write = os.pipe()
        with raw:
            socket.send_fds(raw, [encode(Fork("web.0"))[:-1]], [read])
            os.close(read)
            end.channel.drain()
            end.channel.close()
        with pytest.raises(BrokenPipeError):
            os.write(write, b"nobody reads it")
        os.close(write)

    asyncio.run(main())


def test_what_waits_for_the_kernel_is_sent_before_an_end_that_is_waited_for() -> None:
    async def main() -> None:
        sock, raw = pair()
        ours, theirs = End(sock), BlockingChannel(raw)
        large = MetricFrame({"set": ["x" * 1_000_000]})
        ours.channel.send(large)
        ours.channel.send(Beat(1.0))

        def read() -> list[Message]:
            return [theirs.receive()[0] for _ in range(2)]

        reading = asyncio.get_running_loop().run_in_executor(None, read)
        ours.channel.finish(20.0)
        assert await reading == [large, Beat(1.0)]
        theirs.close()

    asyncio.run(main())


def test_the_last_words_of_a_channel_are_heard_however_many_files_are_open() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))

    async def test() -> None:
        near, theirs = pair()
        number = fcntl.fcntl(near, fcntl.F_DUPFD_CLOEXEC, 2000)  # beyond what select(2) can take
        near.close()
        ours = End(socket.socket(fileno=number))
        with theirs:
            theirs.sendall(encode(Beat(1.0)))
        ours.channel.drain()
        assert (ours.heard, ours.closed) == ([Beat(1.0)], 1)

    try:
        asyncio.run(test())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_end_is_told_once_after_all_that_was_said_before() -> None:
    async def test(ours: End, theirs: End) -> None:
        ours.channel.send(Beat(1.0))
        ours.channel.close()
        await wait_until_async(lambda: theirs.closed)
        assert (theirs.heard, theirs.closed, ours.closed) == ([Beat(1.0)], 1, 0)
        theirs.channel.send(Beat(2.0))  # dropped, no error

    run(test)


def test_nonsense_ends_the_channel() -> None:
    async def main() -> None:
        raw, sock = pair()
        end = End(sock)
        raw.sendall(b"this is no message\n")
        await wait_until_async(lambda: end.closed)
        raw.close()

    asyncio.run(main())


def test_a_blocking_end_hands_over_what_it_has_received_too_early() -> None:
    async def main() -> None:
        raw, sock = pair()
        blocking = BlockingChannel(sock)
        other = End(raw)
        other.channel.send(Drain(1.0))
        other.channel.send(Drain(2.0))
        assert blocking.receive() == (Drain(1.0), [])
        heard: list[Message] = []
        sock, framing = blocking.detach()
        channel = Channel(sock, lambda m, _: heard.append(m), lambda: None, framing)
        await wait_until_async(lambda: heard)
        assert heard == [Drain(2.0)]
        channel.close()
        other.channel.close()

    asyncio.run(main())


def test_a_blocking_end_gives_what_came_with_the_message_it_waited_for() -> None:
    raw, sock = pair()
    blocking = BlockingChannel(sock)
    raw.sendall(encode(Drain(1.0)) + encode(Drain(2.0)))
    assert blocking.receive() == (Drain(1.0), [])
    assert blocking.received() == [(Drain(2.0), [])]
    assert blocking.received() == []
    raw.close()
    blocking.close()


def test_a_blocking_end_says_when_the_other_is_gone() -> None:
    raw, sock = pair()
    blocking = BlockingChannel(sock)
    raw.close()
    with pytest.raises(EOFError):
        blocking.receive()
    with pytest.raises(EOFError):
        blocking.read()
    blocking.send(Beat(1.0))
    blocking.close()
