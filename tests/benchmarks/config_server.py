"""The config server alone: idle, with thousands of held polls, when all are woken, and for 304."""

import resource
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from skep.config.apollo.openapi import OpenApiClient
from tests.benchmarks.figures import Figure, median, percentile, spread
from tests.contract.apollo.target import asked
from tests.platform_process import COMMAND, Platform, read_proc
from tests.support import free_port, wait_until

WAITERS, WOKEN, ROUNDS = 5_000, 1_000, 5
ANSWERS, BATCH = 10_000, 100
WHERE = ("shop", "default", "application")


@dataclass
class Server:
    """A running `platform config-server`."""

    port: int
    process: subprocess.Popen[bytes]
    editor: OpenApiClient

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def publish(self) -> None:
        """Publish the namespace as it is."""
        self.editor.publish(*WHERE, "bench", "bench")

    def newest(self) -> int:
        """Return the latest id of the namespace."""
        answer = httpx.get(f"{self.url}{poll(-1)}", trust_env=False)
        number: int = answer.json()[0]["notificationId"]
        return number

    def pss(self) -> float:
        """Return its memory in MB: its own, and its share of what it has in common with others."""
        text = read_proc(self.process.pid, "smaps_rollup")
        (line,) = (line for line in text.splitlines() if line.startswith("Pss:"))
        return int(line.split()[1]) / 1024

    def connect(self) -> socket.socket:
        """Return a connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


def measure() -> list[Figure]:
    """Return memory, the time until all waiters are answered, and the time of a 304."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * WAITERS), hard))
    try:
        with running() as server:
            idle = server.pss()
            waiting = [waiting_memory(server) - idle]
            times = [seconds for _ in range(ROUNDS) for seconds in woken(server)]
            each = [not_modified(server) for _ in range(ROUNDS)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [
        Figure("config server: idle", idle, "MB", 40),
        Figure(f"config server: {WAITERS} held polls", waiting[0], "MB", 60),
        Figure(f"publish until {WOKEN} polls are answered, p99", percentile(times, 0.99), "s", 0.1),
        Figure("an answer 304", median(each), "µs", 125, spread(each)),
    ]


@contextmanager
def running() -> Iterator[Server]:
    """Run a config server with one release."""
    with tempfile.TemporaryDirectory() as folder:
        platform, port = Platform(Path(folder)), free_port()
        with platform.log.open("ab") as log:
            process = subprocess.Popen(
                [*COMMAND, "config-server", "--port", str(port), "--open", "--hold", "90"],
                cwd=platform.directory,
                env=platform.environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: "Serving" in platform.output())
            token = (platform.data_dir / "configserver" / "token").read_text().strip()
            with OpenApiClient(f"http://127.0.0.1:{port}", token) as editor:
                editor.set_item(*WHERE, "key", "value", "bench")
                server = Server(port, process, editor)
                server.publish()
                yield server
        finally:
            process.kill()
            process.wait()


def waiting_memory(server: Server) -> float:
    """Return the memory of the server in MB while it holds many polls."""
    number = server.newest()
    with ExitStack() as stack:
        for _ in range(WAITERS):
            stack.enter_context(server.connect()).sendall(request(poll(number)))
        wait_until(lambda: held(server) == WAITERS, deadline=120)
        return server.pss()


def woken(server: Server) -> list[float]:
    """Return for each of many held polls the seconds from the publish until its answer came."""
    number = server.newest()
    times: list[float] = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(WOKEN):
            client = stack.enter_context(server.connect())
            client.sendall(request(poll(number)))
            selector.register(client, selectors.EVENT_READ)
        wait_until(lambda: held(server) == WOKEN, deadline=60)
        start = time.perf_counter()
        server.publish()
        while len(times) < WOKEN:
            for key, _ in selector.select():
                times.append(time.perf_counter() - start)
                selector.unregister(key.fileobj)
    return times


def not_modified(server: Server) -> float:
    """Return the microseconds of one 304, of many that are asked for on one connection."""
    path = "/configs/shop/default/application"
    key = httpx.get(f"{server.url}{path}", trust_env=False).json()["releaseKey"]
    asks = request(f"{path}?releaseKey={key}&ip=10.0.0.1")
    with server.connect() as client:
        # With a timeout, MSG_WAITALL does not wait for all.
        client.settimeout(None)
        client.sendall(asks)
        size = len(client.recv(65536))
        start = time.perf_counter()
        for _ in range(ANSWERS // BATCH):
            client.sendall(asks * BATCH)
            # One wait for the whole batch, so that the client costs next to nothing.
            client.recv(size * BATCH, socket.MSG_WAITALL)
        return (time.perf_counter() - start) / ANSWERS * 1e6


def held(server: Server) -> int:
    """Return how many polls the server holds."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=60).text
    (line,) = (line for line in text.splitlines() if line.startswith("configserver_held_polls "))
    return int(float(line.split()[1]))


def poll(number: int) -> str:
    """Return the path of a poll by a client that has seen this id."""
    notifications = quote(asked({"application": number}))
    return f"/notifications/v2?appId=shop&cluster=default&notifications={notifications}"


def request(path: str) -> bytes:
    """Return a request for this path."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
