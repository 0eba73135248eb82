"""What systemd is told and what it may hand over; the tests are the service manager."""

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.configserver import running_config_server
from tests.platform_process import COMMAND, Platform, read_proc
from tests.support import wait_until

SLOW = """
import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from skep import Plugin

@asynccontextmanager
async def lifespan():
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    yield

plugin = Plugin(lifespan=lifespan)
"""

# What systemd does between fork and exec: the sockets are descriptors from 3 on, and are named.
HAND_OVER = """
import fcntl, os, sys
names, *rest = sys.argv[1:]
count = names.count(":") + 1
aside = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 64) for fd in rest[:count]]
for place, fd in enumerate(aside, 3):
    os.dup2(fd, place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(rest[count], rest[count:])
"""


class ServiceManager:
    """Reads notifications from a datagram socket, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def heard(self, key: str, since: int = 0) -> list[dict[str, str]]:
        """Return the notifications with this key, after so many."""
        return [told for told in self.told[since:] if key in told]

    def stop(self) -> None:
        """Read no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while text := self._socket.recv(65536).decode():
            self.told.append(dict(line.split("=", 1) for line in text.splitlines()))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    made = ServiceManager(tmp_path / "notify")
    yield made
    made.stop()


def test_readiness_is_told_when_all_accept_and_not_before(
    sampled: Platform, manager: ServiceManager, tmp_path: Path
) -> None:
    """Lifecycle, case 1."""
    (sampled.plugins / "slow.py").write_text(SLOW)
    sampled.environment |= {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"}
    where = tmp_path / "elsewhere"
    where.mkdir()
    with running_config_server(where, samples=sampled.samples, app_id="sample") as server:
        # Given a platform of which the workers are not prepared yet
        sampled.tell_environments()
        sampled.start("--config-server", server.url, "--app-id", "sample", ready=False)
        wait_until(lambda: sampled.status().get("coming") == "preparing")
        wait_until(lambda: len(manager.heard("WATCHDOG")) >= 3)
        assert manager.heard("READY") == []
        listeners = sampled.status()["listeners"]
        assert httpx.get(f"{listeners['admin']}/readyz").status_code == 503
        # When they are
        (tmp_path / "go").touch()
        (ready,) = wait_until(lambda: manager.heard("READY"), interval=0.001)
        # Then all accept at that moment
        assert httpx.get(f"{listeners['admin']}/readyz").json()["ready"] is True
        assert httpx.get(f"{listeners['http']}/").status_code == 200
        assert listeners["http"] in ready["STATUS"]
        # A rollout is told from its beginning to its end, a refused one too
        for broken, outcome in ((False, "is in service"), (True, "was refused")):
            if broken:
                (sampled.plugins / "slow.py").write_text("1 / 0\n")
            since = len(manager.told)
            assert sampled.cli("reload").returncode == int(broken)
            (reloading,) = wait_until(lambda n=since: manager.heard("RELOADING", n))  # type: ignore[misc]
            assert int(reloading["MONOTONIC_USEC"]) > 0
            (ready,) = wait_until(lambda n=since: manager.heard("READY", n))  # type: ignore[misc]
            assert outcome in ready["STATUS"]
        assert "NOTIFY_SOCKET" not in _environments(sampled)
        assert manager.heard("STOPPING") == []
        assert sampled.cli("stop").returncode == 0
        since = manager.told.index(wait_until(lambda: manager.heard("STOPPING"))[0])
        assert manager.heard("READY", since) == []


def test_listening_sockets_are_taken_over_with_what_waits_in_them(sampled: Platform) -> None:
    sampled.tell_environments()
    with (
        socket.create_server(("127.0.0.1", 0)) as http,
        socket.create_server(("127.0.0.1", 0)) as admin,
        socket.create_connection(http.getsockname()) as early,
    ):
        early.sendall(b"GET / HTTP/1.0\r\n\r\n")
        _start_with(sampled, "http:admin", http, admin)
        sampled.wait_ready()
        # Then it serves where the service manager listens, and who came first is served too
        ports = [listener.getsockname()[1] for listener in (http, admin)]
        assert [sampled.url, sampled.admin] == [f"http://127.0.0.1:{port}" for port in ports]
        assert early.makefile().readline().startswith("HTTP/1.1 200")
        assert "LISTEN_FDS" not in _environments(sampled)
        # And after a restart it still does
        assert sampled.cli("restart").returncode == 0
        assert sampled.get()["greeting"] == "Hello from the hive"
        assert sampled.status()["listeners"]["http"] == sampled.url


def test_what_is_no_listening_socket_is_exit_5(sampled: Platform) -> None:
    with socket.socket() as idle:
        _start_with(sampled, "http", idle)
        assert sampled.wait_end() == 5
    assert "FileDescriptorName" in sampled.output()


def _start_with(platform: Platform, names: str, *sockets: socket.socket) -> None:
    descriptors = [sock.fileno() for sock in sockets]
    command = [sys.executable, "-c", HAND_OVER, names, *map(str, descriptors), *COMMAND, "start"]
    platform.run(command, descriptors)


def _environments(platform: Platform) -> str:
    """What the workers find in their environment, and all what they were started with."""
    rows: list[dict[str, Any]] = platform.status()["slots"]
    pids = [row["pid"] for row in rows if row["pid"] and row["pid"] != os.getpid()]
    own = [platform.environ(pid) for pid in platform.pids("web.").values()]
    assert own
    return json.dumps(own) + "".join(read_proc(pid, "environ") for pid in pids)
