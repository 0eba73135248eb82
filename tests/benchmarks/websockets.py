"""What idle WebSockets cost, how quick a push to many is, and whether packets are lost."""

import asyncio
import contextlib
import json
import os
import resource
import select
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from skep.wire.mesh import Command, Mesh
from tests.benchmarks.figures import Figure
from tests.platform_process import ROOT, Platform, running
from tests.raw_websocket import RawWebSocket

IDLE, PUSHED, PUSHES = 2000, 1000, 100
RATE, ROLLOUTS = 20_000, 5

PLUGIN = """
from skep import Plugin, UdpHandler, UdpListener, WebSocketHandler
from starlette.routing import WebSocketRoute

class Guest(WebSocketHandler):
    async def on_open(self, connection):
        connection.join("all")

class Packets(UdpHandler):
    async def on_packet(self, packet):
        pass

plugin = Plugin(
    routes=[WebSocketRoute("/", Guest)], sockets=[UdpListener(Packets, name="packets")]
)
"""


def measure() -> list[Figure]:
    """Return kilobytes an idle connection, milliseconds a push, and packets lost."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with platform() as started:
        memory = asyncio.run(idle(started))
    with platform() as started:
        push = asyncio.run(pushes(started))
    with platform() as started:
        lost, sent, rate = packets(started)
    note = f"{sent} sent at {rate:.0f}/s over {ROLLOUTS} rollouts"
    with platform() as started:
        spread, codes = asyncio.run(restart(started))
    return [
        Figure(f"memory of an idle WebSocket, of {IDLE}", memory, "kB", 40),
        Figure(f"push to {PUSHED} on 2 workers, until all have it, p99", push, "ms", 100),
        Figure("UDP packets lost", lost, "", 0, note),
        Figure(f"restart of {PUSHED} WebSockets: not closed with 1012", codes, "", 0),
        Figure("the same: time from the first to the last", spread, "s", None),
    ]


@contextlib.contextmanager
def platform() -> Iterator[Platform]:
    """A platform with two web workers and the plugin above."""
    folder = tempfile.mkdtemp()
    try:
        plugins = Path(folder, "plugins")
        plugins.mkdir()
        (plugins / "bench.py").write_text(PLUGIN)
        shutil.copytree(ROOT / "config-samples", Path(folder, "config-samples"))
        with running(Path(folder)) as started:
            yield started
    finally:
        shutil.rmtree(folder)


async def guests(started: Platform, count: int) -> list[RawWebSocket]:
    """Return so many connections."""
    port = int(started.url.rpartition(":")[2])
    found: list[RawWebSocket] = []
    while len(found) < count:
        some = (RawWebSocket.connect(port, "/") for _ in range(50))
        found += await asyncio.gather(*some)
    return found


async def idle(started: Platform) -> float:
    """Return the kilobytes that each idle connection adds to the workers."""
    workers = list(started.pids("web.").values())
    for client in await guests(started, 100):  # what the first ones cost is not theirs
        client.writer.close()
    await asyncio.sleep(1)
    before = sum(private(pid) for pid in workers)
    clients = await guests(started, IDLE)
    await asyncio.sleep(2)
    after = sum(private(pid) for pid in workers)
    for client in clients:
        client.writer.close()
    return (after - before) / IDLE


def private(pid: int) -> float:
    """Return the kilobytes that a process has for itself."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("Private_"))


async def pushes(started: Platform) -> float:
    """Return the 99th percentile of the milliseconds until all have a message."""
    clients = await guests(started, PUSHED)
    sockets = [client.writer.get_extra_info("socket") for client in clients]
    for client in clients:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    mesh = Mesh(started.data_dir / "mesh")
    took = []
    for number in range(PUSHES):
        text = json.dumps({"n": number})
        begun = time.perf_counter()
        reading = asyncio.create_task(asyncio.to_thread(read_each, sockets))
        answer = await mesh.ask(Command("push", room="all", text=text))
        took.append((await reading - begun) * 1000)
        assert answer.count == PUSHED, answer.count
        await asyncio.sleep(0.02)
    mesh.close()
    for client in clients:
        client.writer.close()
    return statistics.quantiles(took, n=100)[98]


def read_each(sockets: list[socket.socket]) -> float:
    """Wait until each has something to read, and read it; return when that was."""
    poll, waiting = select.epoll(), {sock.fileno() for sock in sockets}
    for descriptor in waiting:
        poll.register(descriptor, select.EPOLLIN)
    while waiting:
        for descriptor, _ in poll.poll():
            os.read(descriptor, 4096)
            waiting.discard(descriptor)
    poll.close()
    return time.perf_counter()


async def restart(started: Platform) -> tuple[float, int]:
    """Return the seconds over which all are closed, and how many not with 1012."""
    clients = await guests(started, PUSHED)
    ends: list[tuple[float, bytes]] = []

    async def watch(client: RawWebSocket) -> None:
        frames = await client.rest() or [(0, b"")]
        ends.append((time.perf_counter(), frames[-1][1]))

    watching = [asyncio.ensure_future(watch(client)) for client in clients]
    await asyncio.to_thread(started.cli, "reload")
    await asyncio.wait(watching)
    times = [at for at, _ in ends]
    wrong = sum(payload[:2] != (1012).to_bytes(2, "big") for _, payload in ends)
    return max(times) - min(times), wrong


def packets(started: Platform) -> tuple[int, int, float]:
    """Return packets lost and sent, and the rate, while generations follow each other."""
    url = started.status()["listeners"]["bench.packets"]
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    stop, sent = threading.Event(), 0
    begun = time.perf_counter()

    def fire() -> None:
        nonlocal sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                due = int((time.perf_counter() - begun) * RATE)
                while sent < due:
                    sock.sendto(b"x" * 64, address)
                    sent += 1
                time.sleep(0.001)

    firing = threading.Thread(target=fire)
    firing.start()
    for _ in range(ROLLOUTS):
        started.cli("reload")
    stop.set()
    firing.join()
    rate = sent / (time.perf_counter() - begun)
    deadline = time.monotonic() + 20
    while (got := received(started)) < sent and time.monotonic() < deadline:
        time.sleep(0.2)
    return sent - got, sent, rate


def received(started: Platform) -> int:
    """Return how many packets all workers have counted."""
    mark = 'platform_socket_frames_total{listener="bench.packets"}'
    lines = [line for line in started.metrics().splitlines() if line.startswith(mark)]
    return int(float(lines[0].split()[1])) if lines else 0
