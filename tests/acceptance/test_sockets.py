"""Listeners of plugins come and go with the generations, and nobody is cut off by that."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.knocker import Knocker
from tests.load import Load
from tests.platform_process import Platform
from tests.support import free_port, wait_until

LINES = """
from skep import HttpListener, Plugin, TcpHandler, TcpListener, UdpHandler, UdpListener, Worker
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

class Server(TcpHandler):
    async def on_receive(self, connection, frame):
        await connection.send(Worker.current().name.encode() + b" " + frame)

class Packets(UdpHandler):
    async def on_packet(self, packet):
        packet.reply(packet.data)

async def other(request):
    return PlainTextResponse("the second app")

async def main(request):
    return JSONResponse({"worker": Worker.current().name})

plugin = Plugin(
    routes=[Route("/", main)],
    sockets=[
        TcpListener(Server, port=%d, name="lines", first_byte=None, idle=None),
        UdpListener(Packets, name="packets"),
        HttpListener([Route("/", other)], name="own"),
    ],
)
"""

# A timer whose handler blocks it is slow to say that it schedules nothing more.
BLOCKED = """
import time
from skep import Plugin, cron

@cron(every="100ms")
async def block(tick):
    time.sleep(0.6)

plugin = Plugin(crons=[block])
"""


def write(platform: Platform, port: int, name: str = "lines") -> None:
    (platform.plugins / f"{name}.py").write_text(LINES % port)


def port_of(platform: Platform, name: str) -> int:
    return int(platform.status()["listeners"][name].rpartition(":")[2])


@contextlib.contextmanager
def session(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(20)
        yield sock


def test_every_listener_is_served_listed_and_stays_the_same_over_a_rollout(
    platform: Platform,
) -> None:
    write(platform, 0)
    platform.environment["PLATFORM_DRAIN_TIMEOUT"] = "12"
    platform.start()
    before = platform.status()["listeners"]
    own = httpx.get(before["lines.own"]).text
    assert own == "the second app"
    with session(port_of(platform, "lines.lines")) as sock:
        sock.sendall(b"one\ntwo\n")
        wait_until(lambda: sock.recv(200, socket.MSG_PEEK).count(b"\n") == 2)
        sock.recv(200)
        shown = platform.cli("conns", "lines.lines").stdout
        assert f"127.0.0.1:{sock.getsockname()[1]}" in shown
        assert platform.cli("reload").returncode == 0
        # The session of before is served by its worker to the deadline, then ended, not cut
        sock.sendall(b"three\n")
        assert b"@1 three\n" in sock.recv(100)
        assert platform.status()["listeners"] == before
        assert sock.recv(100) == b""
    with session(port_of(platform, "lines.lines")) as sock:
        sock.sendall(b"four\n")
        assert b"@2 four\n" in sock.recv(100)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_port_that_is_new_serves_and_one_that_is_gone_is_drained_and_refused(
    platform: Platform, loop: str
) -> None:
    """Lifecycle, case 17."""
    platform.environment["PLATFORM_LOOP"] = loop
    old, new = free_port(), free_port()
    write(platform, old)
    (platform.plugins / "blocked.py").write_text(BLOCKED)
    platform.start()
    with Load(platform.url, clients=2) as load, Knocker(old, b"hi\n") as knocker:
        wait_until(lambda: knocker.answered > 20)
        write(platform, new)
        assert platform.cli("reload").returncode == 0
        wait_until(lambda: knocker.refused > 5)
        with session(new) as sock:
            sock.sendall(b"hi\n")
            assert b"@2 hi" in sock.recv(100)
    assert load.failures == []
    assert knocker.cut == []


def test_a_port_that_cannot_be_had_refuses_the_generation_and_names_who_wants_it(
    platform: Platform,
) -> None:
    port = free_port()
    write(platform, port)
    platform.start()
    pids = platform.pids()

    write(platform, port, "rival")
    (platform.plugins / "rival.py").write_text(
        (platform.plugins / "rival.py").read_text().replace('Route("/"', 'Route("/rival"')
    )
    done = platform.cli("reload")
    assert done.returncode == 1
    for word in ("plugin rival", "plugin lines", f"127.0.0.1:{port}"):
        assert word in done.stderr

    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        text = (platform.plugins / "rival.py").read_text()
        (platform.plugins / "rival.py").write_text(text.replace(f"port={port}", f"port={taken}"))
        done = platform.cli("reload")
        assert done.returncode == 1
        for word in ("plugin rival", "rival.lines", f"Port {taken} on 127.0.0.1", "in use"):
            assert word in done.stderr
        assert platform.pids() == pids
        with session(port) as sock:
            sock.sendall(b"still\n")
            assert b"@1 still" in sock.recv(100)
    # When the stranger is gone the same code comes up
    assert platform.cli("reload").returncode == 0


def test_a_port_in_use_at_the_start_is_exit_code_5_with_its_owner(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        write(platform, port)
        platform.start(ready=False)
        assert platform.wait_end() == 5
    assert (
        f"Port {port} on 127.0.0.1, which plugin lines wants for lines.lines" in platform.output()
    )


def test_no_packet_is_lost_over_rollouts(platform: Platform, tmp_path: Path) -> None:
    """Lifecycle, case 39."""
    write(platform, 0)
    platform.start()
    address = ("127.0.0.1", port_of(platform, "lines.packets"))
    stop, sent = threading.Event(), 0

    def fire() -> None:
        nonlocal sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                for _ in range(10):
                    sock.sendto(b"x" * 64, address)
                    sent += 1
                stop.wait(0.01)

    firing = threading.Thread(target=fire)
    firing.start()
    try:
        for _ in range(3):
            assert platform.cli("reload").returncode == 0
    finally:
        stop.set()
        firing.join()
    assert sent > 100
    wait_until(lambda: frames(platform) >= sent)
    assert frames(platform) == sent


def frames(platform: Platform) -> int:
    """Return how many packets all workers of all generations have counted."""
    for line in platform.metrics().splitlines():
        if line.startswith('platform_socket_frames_total{listener="lines.packets"}'):
            return int(float(line.split()[1]))
    return 0


@pytest.mark.parametrize("port", [70000, -1])
def test_a_port_that_is_none_is_refused_with_the_line(platform: Platform, port: int) -> None:
    write(platform, port)
    platform.start(ready=False)
    assert platform.wait_end() == 3
    assert f"port = {port}" in platform.output()
    assert "lines.py:2" in platform.output()
