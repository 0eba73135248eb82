"""Messages between real processes, which may be killed at any moment."""

import asyncio
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep import ProcessDown, ProcessGone
from skep.base.rundir import RunDir
from skep.messaging import binding
from skep.messaging.address import InboxAddress
from tests.process.echo import Echo
from tests.process.store_child import start_python
from tests.support import PATIENCE, wait_until

Receiver = subprocess.Popen[bytes]

pytestmark = pytest.mark.process


class Receivers:
    """An inbox as the supervisor holds it, and the processes that read it."""

    def __init__(self, address: InboxAddress) -> None:
        self.address = address
        self.received: dict[int, list[str]] = {}
        self._inbox = address.bind()
        self._children: list[Receiver] = []
        self._threads: list[threading.Thread] = []

    def start(self) -> Receiver:
        descriptor = str(self._inbox.fileno())
        child = start_python(
            *("-m", "tests.process.echo_child", "receive", descriptor),
            pass_fds=[self._inbox.fileno()], stdout=subprocess.PIPE,
        )  # fmt: skip
        self._children.append(child)
        seen = self.received[child.pid] = []
        assert child.stdout
        lines = child.stdout

        def follow() -> None:
            for line in lines:
                seen.append(line.decode().strip())
            lines.close()

        thread = threading.Thread(target=follow)
        thread.start()
        self._threads.append(thread)
        return child

    def all(self) -> list[str]:
        return [line for lines in self.received.values() for line in lines]

    def close(self) -> None:
        self._inbox.close()
        for child in self._children:
            child.kill()
            child.wait()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def receivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receivers]:
    monkeypatch.setenv("PLATFORM_DATA_DIR", str(tmp_path))
    before = binding.bind(None)
    made = Receivers(InboxAddress(RunDir(tmp_path).inboxes_dir, "echo.Echo"))
    yield made
    made.close()
    office = binding.bind(before)
    if office is not None:
        office.outbox.close()


def start_sender(what: str, tag: str, count: int) -> subprocess.Popen[bytes]:
    return start_python("-m", "tests.process.echo_child", what, tag, str(count))


@pytest.mark.parametrize("what", ["send", "request"])
def test_each_message_is_received_once_and_receivers_share_them(
    receivers: Receivers, what: str
) -> None:
    """laravels.md §6: process, `queue` in contention mode."""
    for _ in range(3):
        receivers.start()
    wait_until(lambda: receivers.address.is_up)
    senders = [start_sender(what, f"s{n}", 1000) for n in range(4)]
    assert [sender.wait(120) for sender in senders] == [0] * 4
    wait_until(lambda: len(receivers.all()) == 4000)
    assert Counter(receivers.all()) == Counter(f"s{n}.{i}" for n in range(4) for i in range(1000))
    assert min(len(lines) for lines in receivers.received.values()) > 0


def test_messages_of_each_sender_arrive_in_order(receivers: Receivers) -> None:
    receivers.start()
    senders = [start_sender("send", f"s{n}", 300) for n in range(3)]
    assert [sender.wait(60) for sender in senders] == [0] * 3
    wait_until(lambda: len(receivers.all()) == 900)
    for n in range(3):
        mine = [line for line in receivers.all() if line.startswith(f"s{n}.")]
        assert mine == [f"s{n}.{i}" for i in range(300)]


def test_a_caller_learns_at_once_of_a_kill_in_the_middle_of_a_request(
    receivers: Receivers,
) -> None:
    child = receivers.start()

    async def ask() -> None:
        asking = asyncio.create_task(Echo.request("hang", timeout=3600))
        await asyncio.to_thread(wait_until, lambda: receivers.all() == ["hang"])
        os.kill(child.pid, signal.SIGKILL)
        await asking

    with pytest.raises(ProcessGone):
        asyncio.run(ask())


def test_a_caller_learns_at_once_of_a_kill_in_the_middle_of_a_stream(receivers: Receivers) -> None:
    child = receivers.start()
    parts = iter(Echo.stream("count", timeout=3600))
    assert next(parts) == "a part"
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ProcessGone):
        next(parts)
    assert list(parts) == []


def test_messages_wait_while_a_process_is_started_again(receivers: Receivers) -> None:
    child = receivers.start()
    assert Echo.request_sync(0, timeout=PATIENCE) == {"echo": 0}
    child.kill()
    child.wait()
    with pytest.raises(ProcessDown):
        Echo.send_sync("fails", if_down="fail")
    Echo.send_sync("waits")
    answers: list[object] = []

    def ask(n: int) -> None:
        answers.append(Echo.request_sync(n, timeout=PATIENCE))

    asking = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for one in asking:
        one.start()
    successor = receivers.start()
    for one in asking:
        one.join()
    assert len(answers) == 20
    wait_until(lambda: len(receivers.received[successor.pid]) == 21)
    assert receivers.received[successor.pid][0] == "waits"
    assert sorted(receivers.received[successor.pid][1:]) == sorted(str(n) for n in range(20))


def test_a_stopped_process_fills_its_inbox_and_goes_on_where_it_was(receivers: Receivers) -> None:
    child = receivers.start()
    Echo.request_sync("first", timeout=PATIENCE)
    os.kill(child.pid, signal.SIGSTOP)
    senders = [start_sender("send", f"s{n}", 50) for n in range(2)]
    wait_until(lambda: is_full(receivers.address))
    os.kill(child.pid, signal.SIGCONT)
    assert [sender.wait(60) for sender in senders] == [0, 0]
    wait_until(lambda: len(receivers.all()) == 101)


def is_full(address: InboxAddress) -> bool:
    with address.connect() as sender:
        try:
            sender.send(b"")  # which the process drops
        except BlockingIOError:
            return True
    return False


def test_a_killed_receiver_loses_only_what_it_had_taken(receivers: Receivers) -> None:
    """Eight kills under load: every request has its reply, or its caller learns of the kill."""
    outcomes: Counter[str] = Counter()

    async def ask(n: int) -> None:
        try:
            assert await Echo.request(n, timeout=60) == {"echo": n}
            outcomes["answered"] += 1
        except ProcessGone:
            outcomes["gone"] += 1

    async def load() -> None:
        children = [receivers.start() for _ in range(2)]
        for _ in range(8):
            asking = [asyncio.create_task(ask(n)) for n in range(200)]
            await asyncio.to_thread(wait_until, lambda: any(receivers.received.values()))
            await asking[20]
            children.pop(0).kill()
            children.append(receivers.start())
            await asyncio.gather(*asking)

    asyncio.run(load())
    assert outcomes.total() == 1600
    assert outcomes["answered"] >= 1600 - 8 * 2


def test_the_inbox_is_for_its_owner(receivers: Receivers) -> None:
    assert oct(receivers.address.path.stat().st_mode & 0o777) == "0o600"
