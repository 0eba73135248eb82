"""A real platform in a directory of its own, started and asked through its command line."""

import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from skep.base.errors import PlatformError
from skep.wire import control
from tests import verb_server
from tests.support import PATIENCE, wait_until

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-P", "-m", "skep"]
# The verbs that become something: they run as users run them.
_ON_THEIR_OWN = ("start", "config-server", "top")


# Every worker writes down its environment, as a program that it starts gets it.
_ENVIRON = """
import os, subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from skep import Plugin

@asynccontextmanager
async def lifespan():
    Path(f"environ.{os.getpid()}").write_bytes(subprocess.check_output(["env", "-0"]))
    yield

plugin = Plugin(lifespan=lifespan)
"""


def read_proc(pid: int, name: str) -> str:
    """Return what is in a file of /proc about a process, nothing if that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""


def _ancestors(pid: int) -> Iterator[str]:
    """Yield the command lines of a process and of those above it."""
    while pid > 1:
        yield read_proc(pid, "cmdline")
        found = re.search(r"^PPid:\s*(\d+)", read_proc(pid, "status"), re.MULTILINE)
        pid = int(found[1]) if found else 0


class Platform:
    """One platform; nothing runs until `start`."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.plugins = directory / "plugins"
        self.samples = directory / "config-samples"
        self.env_file = directory / ".env"
        self.data_dir = directory / "data"
        self.log = directory / "platform.log"
        self.plugins.mkdir(exist_ok=True)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PLATFORM_")},
            "PYTHONPATH": str(ROOT / "platform"),
            "PLATFORM_DATA_DIR": str(self.data_dir),
            "PLATFORM_WEB_WORKERS": "2",
            "PLATFORM_TASK_WORKERS": "1",
            "PLATFORM_CONFIG_SERVER_PORT": "0",
            "PLATFORM_LOG_FORMAT": "text",
            "PLATFORM_DRAIN_TIMEOUT": "5",
            "ECHO_TCP_PORT": "0",
            "ECHO_UDP_PORT": "0",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        # Whom to believe on the admin port, and what to say to it.
        self.verify: ssl.SSLContext | bool = True
        self.headers: dict[str, str] = {}

    def publish_sample(
        self, text: str, app: str = "sample", namespace: str = "application"
    ) -> None:
        """Write a properties file that seeds the embedded config server."""
        folder = self.samples / app / "default"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{namespace}.properties").write_text(text)

    def add_samples(self) -> "Platform":
        """Copy the sample plugins and the sample configuration into its directory."""
        shutil.copytree(ROOT / "plugins", self.plugins, dirs_exist_ok=True)
        shutil.copytree(ROOT / "config-samples", self.samples, dirs_exist_ok=True)
        return self

    def start(self, *arguments: str, ready: bool = True) -> "Platform":
        """Run `platform start` on free ports; wait until it is ready unless `ready` is false."""
        ports = ["--port", "0", "--admin-port", "0"]
        self.run([*COMMAND, "start", *ports, *arguments])
        if ready:
            self.wait_ready()
        return self

    def run(self, command: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        """Run a command that is to become the platform, and hand it these descriptors."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
            )

    def cli(
        self, *arguments: str, timeout: float = 60.0, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb, with a text to read, and return what it printed."""
        if arguments[0] not in _ON_THEIR_OWN:
            return verb_server.run(arguments, self.directory, self.environment, timeout, text)
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def publish(self, *assignments: str) -> None:
        """Run `platform config publish`; do not wait for what becomes of it."""
        done = self.cli("config", "publish", "--no-wait", *assignments)
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        """Return what `platform status --json` shows, {} if no platform answers.

        It asks as the verb does, without a process for each question: tests ask hundreds of times.
        """
        try:
            answer: dict[str, Any] = control.call(self.data_dir / "control.sock", "status", 60)
        except PlatformError:
            return {}
        return answer

    def wait_ready(self, deadline: float = 2 * PATIENCE) -> None:
        """Wait until every required slot accepts, by what the admin port says."""

        def ready() -> bool:
            assert self.process is None or self.process.poll() is None, self.output()
            listeners = self.status().get("listeners", {})
            if "admin" not in listeners:
                return False
            with contextlib.suppress(httpx.TransportError):
                return self.ask_admin("/readyz", listeners["admin"]).status_code == 200
            return False

        try:
            wait_until(ready, deadline, interval=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from error
        listeners = self.status()["listeners"]
        self.url, self.admin = listeners.get("http", ""), listeners["admin"]

    def get(self, path: str = "/") -> Any:
        """GET a path from a fresh connection; return the JSON."""
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE).raise_for_status().json()

    def metrics(self) -> str:
        """Return the text of /metrics."""
        return self.ask_admin("/metrics").raise_for_status().text

    def ask_admin(self, path: str, address: str = "") -> httpx.Response:
        """GET a path of the admin port."""
        url = f"{address or self.admin}{path}"
        return httpx.get(url, headers=self.headers, verify=self.verify, timeout=PATIENCE)

    def counters(self) -> dict[str, float]:
        """Return every counter in /metrics, by its name and labels."""
        rows = [line.rpartition(" ") for line in self.metrics().splitlines()]
        return {
            name: float(value) for name, _, value in rows if "_total" in name and name[0] != "#"
        }

    def pids(self, slot: str = "") -> dict[str, int]:
        """Return the process ids of the slots that have a process, by `slot@generation`."""
        return {
            f"{row['slot']}@{row['generation']}": row["pid"]
            for row in self.status().get("slots", [])
            if row["pid"] and row["slot"].startswith(slot)
        }

    def tell_environments(self) -> None:
        """Have a plugin for `environ`, from the next generation on."""
        (self.plugins / "environ.py").write_text(_ENVIRON)

    def environ(self, pid: int) -> dict[str, str]:
        """Return the environment of a worker as it was when it began to serve. What it was started
        with, in /proc, is another thing."""
        text = (self.directory / f"environ.{pid}").read_text()
        return dict(line.split("=", 1) for line in text.split("\0") if line)

    def nursery(self) -> int:
        """Return the process id of the nursery; it fails when there is none."""
        rows = json.loads(self.cli("ps", "--json").stdout)
        return int(next(row["pid"] for row in rows if row["kind"] == "nursery"))

    def zygotes(self) -> list[int]:
        """Return the process ids of the zygotes and understudies, the eldest first."""
        return sorted(pid for pid in self.tree() if "zygote" in read_proc(pid, "cmdline"))

    def command_lines(self) -> list[str]:
        """Return the command line of each of its processes; of one that has just ended, nothing."""
        return [read_proc(pid, "cmdline").replace("\0", " ") for pid in self.tree()]

    def kill(self, pid: int) -> None:
        """kill -9 one of its processes."""
        os.kill(pid, signal.SIGKILL)

    def kill_tree(self) -> None:
        """kill -9 all of them; some end because others do."""
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                self.kill(pid)

    def output(self) -> str:
        """Return all that the platform has printed."""
        return self.log.read_text()

    def wait_end(self, deadline: float = 2 * PATIENCE) -> int:
        """Wait until `platform start` has ended; return its exit code."""
        assert self.process is not None
        code = self.process.wait(deadline)
        self.process = None
        return code

    def stop(self) -> None:
        """Stop it if it runs, by force if need be."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill_tree()
            self.process.wait()
            raise
        finally:
            self.process = None

    def tree(self) -> list[int]:
        """Return every process that belongs to this platform: its data directory shows that."""
        mark = f"PLATFORM_DATA_DIR={self.data_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def programs(self) -> set[int]:
        """Return the processes of external programs: what the guards of commands have started."""
        return {pid for pid in self.tree() if any("guard.py" in name for name in _ancestors(pid))}


@contextlib.contextmanager
def running(directory: Path, *arguments: str, **environment: str) -> Iterator[Platform]:
    """Yield a platform that is ready, and stop it at the end."""
    platform = Platform(directory, **environment)
    try:
        yield platform.start(*arguments)
    finally:
        platform.stop()
