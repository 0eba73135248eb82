"""Runs verbs of the command line in processes of their own that need not import it first.

Importing takes most of the CPU time of a verb, and the tests run hundreds. One process imports the
command line once and forks for each verb. As with a shell, each has its own arguments, directory,
environment and standard streams, and an exit status.
"""

import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_LARGEST = 1 << 18


def run(
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    timeout: float,
    text: str = "",
) -> "subprocess.CompletedProcess[str]":
    """Run a verb that reads a text; return what it printed, as `subprocess.run` does."""
    command = ["platform", *arguments]
    call = json.dumps([command, str(cwd), dict(environment)]).encode()
    ours, theirs = socket.socketpair()
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        os.pwrite(streams[0], text.encode(), 0)
        with ours:
            with theirs:
                socket.send_fds(_server(), [call], [*streams, theirs.fileno()])
            code = _exit_code(ours, command, timeout)
        output, errors = (os.pread(stream, os.fstat(stream).st_size, 0) for stream in streams[1:])
    finally:
        for stream in streams:
            os.close(stream)
    return subprocess.CompletedProcess(command, code, output.decode(), errors.decode())


def _exit_code(server: socket.socket, command: list[str], timeout: float) -> int:
    """Wait for the end of the verb; kill it when that takes too long."""
    end = time.monotonic() + timeout
    answers = server.makefile("rb")
    pid = int(answers.readline())
    server.settimeout(max(end - time.monotonic(), 0.001))
    try:
        return int(answers.readline())
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(command, timeout) from None


@cache
def _server() -> socket.socket:
    """Return the connection to the one server of this process; it ends with its connection."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.verb_server", str(theirs.fileno())],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "platform")]),
            },
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve(requests: socket.socket) -> Callable[[], None] | None:
    """Fork for each request. Return None at the end, and what a fork has to do in the fork."""
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not requests:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    pid, caller = running.pop(key.fd)
                    with caller:
                        _report(caller, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    continue
                message, descriptors, _, _ = socket.recv_fds(requests, _LARGEST, 4)
                if not message:
                    return None
                *streams, answer = descriptors
                if (pid := os.fork()) == 0:
                    _close(requests, running, answer)
                    return lambda: _become(streams, *json.loads(message))
                for stream in streams:
                    os.close(stream)
                caller = socket.socket(fileno=answer)
                _report(caller, pid)
                ended = os.pidfd_open(pid)
                running[ended] = pid, caller
                selector.register(ended, selectors.EVENT_READ)


def _close(
    requests: socket.socket, running: dict[int, tuple[int, socket.socket]], answer: int
) -> None:
    """Close what a fork has of the server."""
    requests.close()
    os.close(answer)
    for ended, (_, caller) in running.items():
        os.close(ended)
        caller.close()


def _report(caller: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has waited long enough
        caller.sendall(b"%d\n" % number)


def _become(streams: list[int], command: list[str], cwd: str, environment: dict[str, str]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[:] = command


if __name__ == "__main__":
    import importlib
    import pkgutil

    from skep import cli
    from skep.cli import main

    for module in pkgutil.walk_packages(cli.__path__, "skep.cli."):
        importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # what is never freed is never touched: the forks share its memory
    if become := _serve(socket.socket(fileno=int(sys.argv[1]))):
        become()
        main.main()
