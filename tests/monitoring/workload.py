"""A platform that follows a config server, and clients that use all that it has."""

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from skep.config.apollo.openapi import OpenApiClient
from tests.certificate import believing, certificate
from tests.packages import may_mount
from tests.platform_process import COMMAND, ROOT, Platform
from tests.raw_websocket import CLOSE, TEXT, RawWebSocket
from tests.support import free_port, wait_until

TROUBLE = Path(__file__).with_name("trouble.py")
# Of the queue `mail`, in deliveries, and of a small disk, in bytes.
LIMIT, DISK = 50, 64 * 2**20


class ConfigServer:
    """`platform config-server`, which can be stopped and started again."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._folder = platform.directory / "configs"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        where = [
            "--port",
            str(self.port),
            "--data-dir",
            str(self._folder),
            "--app-id",
            "sample",
            "--open",
        ]
        self._process = subprocess.Popen(
            [*COMMAND, "config-server", *where],
            cwd=self._platform.directory,
            env=self._platform.environment,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def publish(self, **values: str) -> None:
        """Publish these keys beside those there are."""
        token = (self._folder / "configserver" / "token").read_text().strip()
        with OpenApiClient(self.url, token) as client:
            for key, value in values.items():
                client.set_item("sample", "default", "application", key, value, "tester")
            client.publish("sample", "default", "application", "a test", "tester")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False


class PlatformOnSmallDisk(Platform):
    """One whose data directory is a file system of its own, in memory, which only it sees."""

    def run(self, command: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        self.data_dir.mkdir()
        mount = f'mount -t tmpfs -o size={DISK},mode=700 tmpfs "$0" && exec "$@"'
        alone = ["unshare", "-m", "sh", "-c", mount, str(self.data_dir), *command]
        super().run(alone, descriptors)
        assert self.process is not None
        # How other processes reach it.
        self.data_dir = Path(f"/proc/{self.process.pid}/root{self.data_dir}")
        self.environment["PLATFORM_DATA_DIR"] = str(self.data_dir)

    def fill(self) -> Path:
        """Leave 5 % of the disk free; return the file that takes the rest."""
        room = os.statvfs(self.data_dir)
        taken = self.data_dir / "ballast"
        with taken.open("wb") as file:
            free = room.f_bavail - room.f_blocks // 20
            os.posix_fallocate(file.fileno(), 0, free * room.f_frsize)
        return taken


class Site:
    """A platform and its config server."""

    def __init__(self, platform: Platform, configs: ConfigServer) -> None:
        self.platform = platform
        self.configs = configs
        self._client = httpx.Client(timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def deliver(self, name: str, count: int) -> None:
        """Deliver tasks of the plugin `trouble`, or fire its event."""
        url = f"{self.platform.url}/trouble/deliver/{name}/{count}"
        self._client.post(url).raise_for_status()

    def use(self, seconds: float) -> None:
        """Use everything for so long, each once at least."""
        end = time.monotonic() + seconds
        numbers = itertools.count(1)
        with self._guests(3):
            for number in numbers:
                self._browse(number)
                self.deliver("flaky", 2)
                self.deliver("alarm", 3)
                self.deliver("mail", 5)
                if number % 10 == 1:
                    self._err()
                    asyncio.run(self._talk())
                if time.monotonic() > end:
                    return

    def _browse(self, number: int) -> None:
        base = self.platform.url
        for path in ("/", "/pulse", "/ticker", "/trouble/slow", f"/orders/{number}"):
            self._client.get(base + path)
        self._client.post(f"{base}/orders/{number}/pay")

    def _err(self) -> None:
        """Do what fails."""
        self.deliver("doomed", 1)
        for path in ("/trouble/broken", "/nowhere"):
            self._client.get(self.platform.url + path)
        with self._connected() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            sock.recv(4096)

    def _connected(self) -> socket.socket:
        at = urlsplit(self.platform.url)
        return socket.create_connection((at.hostname, at.port), timeout=10)

    @contextmanager
    def _guests(self, count: int) -> Iterator[None]:
        """Keep WebSockets open."""
        with contextlib.ExitStack() as stack:
            for number in range(count):
                sock = stack.enter_context(self._connected())
                path = f"/echo/chat?name=guest{number}"
                head = ["Host: test", "Connection: Upgrade", "Upgrade: websocket"]
                head += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
                sock.sendall("\r\n".join([f"GET {path} HTTP/1.1", *head, "", ""]).encode())
                assert b" 101 " in sock.recv(4096)
            yield

    async def _talk(self) -> None:
        port = urlsplit(self.platform.url).port or 0
        guest = await RawWebSocket.connect(port, "/echo/chat?name=ann")
        await guest.read()
        for text in (b'{"join": "tea"}', b'{"room": "tea", "text": "hello"}', b"{}"):
            await guest.send(guest.frame(TEXT, text))
            await guest.read()
        await guest.send(guest.frame(CLOSE, (1000).to_bytes(2)))
        await guest.rest()
        guest.writer.close()
        listeners = self.platform.status()["listeners"]
        lines = urlsplit(listeners["echo.lines"])
        reader, writer = await asyncio.open_connection(lines.hostname, lines.port)
        await reader.readuntil(b".")
        writer.write(b"hello\r\nquit\r\n")
        await reader.read()
        writer.close()
        packets = urlsplit(listeners["echo.packets"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"hello", (packets.hostname, packets.port))


@contextmanager
def site(folder: Path, *arguments: str, days: int = 2, **environment: str) -> Iterator[Site]:
    """Run one with the sample plugins and `trouble`; its certificate ends after `days`."""
    settings = {
        "PLATFORM_QUEUES": f"mail waiting={LIMIT}, long drain=500ms cuts=100",
        "PLATFORM_PROBATION": "0",
        **environment,
    }
    platform = (PlatformOnSmallDisk if may_mount() else Platform)(folder, **settings)
    shutil.copytree(ROOT / "plugins", platform.plugins, dirs_exist_ok=True)
    shutil.copy(TROUBLE, platform.plugins / TROUBLE.name)
    shutil.copytree(ROOT / "config-samples", platform.samples, dirs_exist_ok=True)
    certificate(folder, "site", days)
    platform.verify = believing(folder)
    configs = ConfigServer(platform)
    configs.start()
    tls = ["--admin-tls-cert", "cert.pem", "--admin-tls-key", "key.pem"]
    follow = ["--config-server", configs.url, "--app-id", "sample"]
    made = Site(platform, configs)
    try:
        platform.start(*follow, *tls, *arguments)
        yield made
    finally:
        made.close()
        platform.stop()
        configs.stop()
