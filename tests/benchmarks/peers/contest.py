"""They and we with two workers each: first the tasks are delivered, then the workers start on them.

A task writes one byte to a file, so the size of the file is the number of tasks done. The Redis of
this machine is started on a free port, with its log written once a second; ours are on the disk
before they are confirmed. The rounds of all are interleaved, so that each has its share of what
else the machine does.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skep.engine.embedded import Embedded
from tests.benchmarks.figures import Figure, median, spread
from tests.process.chores import Tick
from tests.process.store_child import StoreChild
from tests.process.worker_child import WorkerChild
from tests.support import wait_until

HERE = Path(__file__).parent
# In the working tree; git does not look into it.
DISK = Path(".platform").absolute()
TASKS = 10_000
# Ours would be done before they are up.
OUR_TASKS = 60_000
OUR_BATCH = 500
WORKERS = 2
ROUNDS = 3
# How much slower than we the best of them may be for us to miss the bar.
BAR = 1 / 3
# The workers boot while this many are done; what follows is measured.
BOOT = 500


@dataclass(frozen=True)
class Peer:
    """One of them: how its workers are started, all of them or one at a time."""

    name: str
    worker: tuple[str, ...]
    processes: int = 1
    requirements: str = "requirements.txt"

    @property
    def module(self) -> str:
        return f"{self.name}_peer"


PEERS = (
    Peer(
        "celery", ("celery", "-A", "celery_peer:app", "worker", "-c", f"{WORKERS}", "-l", "error")
    ),
    Peer("dramatiq", ("dramatiq", "dramatiq_peer", "--processes", f"{WORKERS}")),
    Peer("taskiq", ("taskiq", "worker", "taskiq_peer:broker", "--workers", f"{WORKERS}")),
    Peer("arq", ("arq", "arq_peer.Settings"), WORKERS, "requirements-arq.txt"),
    Peer("huey", ("huey_consumer", "huey_peer.huey", "-k", "process", "-w", f"{WORKERS}")),
)


def measure() -> Iterator[Figure]:
    """Give what each does in a second, as the time of one task, and the best of them beside us."""
    if shutil.which("redis-server") is None:
        raise FileNotFoundError("The peers need a Redis: install redis-server (Debian's name).")
    DISK.mkdir(exist_ok=True)
    rates: dict[str, list[float]] = {"skep": [], **{peer.name: [] for peer in PEERS}}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=DISK) as directory:
            rates["skep"].append(ours(Path(directory)))
        for peer in PEERS:
            with tempfile.TemporaryDirectory(dir=DISK) as directory, redis(Path(directory)) as url:
                rates[peer.name].append(contest(peer, Path(directory), url))
    for name, found in rates.items():
        rate, note = median(found), f"{spread(found)} /s"
        yield Figure(f"{name}, a no-op task", 1e6 / rate, "µs", None, f"{rate:,.0f} /s; {note}")
    best = max((name for name in rates if name != "skep"), key=lambda name: median(rates[name]))
    ratio = median(rates[best]) / median(rates["skep"])
    yield Figure("rate of the best of them / ours", ratio, "", BAR, best)


def ours(directory: Path) -> float:
    """Return how many tasks a second our workers do, once they are up."""
    done = directory / "done"
    done.touch()
    with StoreChild(directory) as store:
        asyncio.run(_deliver(store.path, done))
        with WorkerChild(store.path, "task.0"), WorkerChild(store.path, "task.1"):
            return _rate(done, OUR_TASKS)


async def _deliver(store: Path, done: Path) -> None:
    engine = Embedded(store, "contest")
    await engine.open()
    for _ in range(0, OUR_TASKS, OUR_BATCH):
        await engine.put([Tick(path=str(done)).envelope() for _ in range(OUR_BATCH)])
    await engine.close()


def contest(peer: Peer, directory: Path, url: str) -> float:
    """Return how many tasks a second the workers of one do, once they are up."""
    done = directory / "done"
    done.touch()
    python = environment(peer) / "bin"
    variables = {**os.environ, "PEER_REDIS": url, "PEER_DONE": str(done), "PYTHONPATH": str(HERE)}
    order = f"import {peer.module}; {peer.module}.deliver({TASKS})"
    subprocess.run([python / "python", "-c", order], env=variables, check=True)
    command = [str(python / peer.worker[0]), *peer.worker[1:]]
    with workers(command, peer.processes, variables):
        return _rate(done, TASKS)


def _rate(done: Path, tasks: int) -> float:
    wait_until(lambda: done.stat().st_size >= BOOT, 60, 0.001)
    start, before = time.perf_counter(), done.stat().st_size
    wait_until(lambda: done.stat().st_size >= tasks, 300, 0.001)
    return (tasks - before) / (time.perf_counter() - start)


@contextmanager
def workers(
    command: Sequence[str], number: int, variables: dict[str, str]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes, each in a group of its own that is ended as a whole."""
    quiet = subprocess.DEVNULL
    started = [
        subprocess.Popen(
            command, env=variables, cwd=HERE, stdout=quiet, stderr=quiet, start_new_session=True
        )
        for _ in range(number)
    ]
    try:
        yield started
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """A Redis of our own on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ("--port", f"{port}", "--dir", str(directory), "--save", "", "--appendonly", "yes")
    command = ["redis-server", "--bind", "127.0.0.1", *settings]
    with workers(command, 1, dict(os.environ)):
        wait_until(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}/0"


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def environment(peer: Peer) -> Path:
    """Return the virtual environment of a peer, made the first time."""
    path = DISK / "peers" / Path(peer.requirements).stem
    ready = path / "ready"
    if not ready.exists():
        venv.create(path, with_pip=True)
        pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--requirement", str(HERE / peer.requirements)], check=True)
        ready.touch()
    return path
