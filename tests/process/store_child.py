"""A real store in a process of its own, on a socket that outlives it, as under the supervisor."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from skep.base.rundir import RunDir, bind_unix
from skep.store.file.schema import Durability
from skep.store.server import LEASE, serve

ROOT = Path(__file__).parent.parent.parent


def start_python(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start an interpreter in which the platform and these tests can be imported."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    command = [sys.executable, "-P", *arguments]
    return subprocess.Popen(command, **{"cwd": ROOT, "env": environment, **options})


class StoreChild:
    """The store of a data directory; a context manager that starts it and ends it."""

    def __init__(
        self,
        directory: Path,
        run_id: str = "run-1",
        durability: Durability = "full",
        lease: float = LEASE,
    ) -> None:
        self.directory = RunDir(directory)
        self.run_id = run_id
        self._settings = [durability, str(lease)]
        self._listener: socket.socket
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def path(self) -> Path:
        return self.directory.store_socket

    def __enter__(self) -> Self:
        self.directory.create()
        self._listener = bind_unix(self.path)
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self._listener.close()

    def start(self) -> None:
        descriptor = self._listener.fileno()
        arguments = [str(descriptor), str(self.directory.queue_file), self.run_id, *self._settings]
        module = ["-m", "tests.process.store_child"]
        self._process = start_python(*module, *arguments, pass_fds=[descriptor])

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop; return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, sig: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(sig)
        status = self._process.wait()
        self._process = None
        return status


async def main(
    descriptor: int, database: Path, run_id: str, durability: Durability, lease: float
) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with socket.socket(fileno=descriptor) as listener:
        await serve(
            listener, database, run_id=run_id, stop=stop, durability=durability, lease=lease
        )


if __name__ == "__main__":
    import uvloop

    mode: Any = sys.argv[4]
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], mode, float(sys.argv[5])))
