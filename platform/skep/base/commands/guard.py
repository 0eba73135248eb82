"""The guard of one external command: `python -I -S guard.py NAME`, a process of its own.

The guard is the parent of the command. It ends the command's process group when the host (the
process that wants the command) asks for it, and also when the host is gone, however that ended. If
the guard itself is killed, the kernel kills the command (PR_SET_PDEATHSIG).

    host ──► guard    the order, one JSON object a line; then `stop SECONDS`; the end of the stream
    guard ──► host    {"pid": 17} or {"failed": "directory", "errno": 2}; then {"status": 256}

The messages travel on descriptor 3; the command gets 0, 1 and 2. This file runs as a script with
the standard library alone, because a guard has to start fast and stay small.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

CONTROL = 3
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Python ignores them, and what is ignored stays so in the command.
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
# Seconds between two looks whether a group is empty whose last member is not a child of ours.
_LOOK = 0.05


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _send(message: dict[str, Any]) -> None:
    try:
        os.write(CONTROL, json.dumps(message).encode() + b"\n")
    except OSError:  # the host is gone
        return


def _read_order() -> dict[str, Any] | None:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = os.read(CONTROL, 1 << 20)
        if not part:
            return None
        data += part
    found: dict[str, Any] = json.loads(data)
    return found


def _start(order: dict[str, Any]) -> int | None:
    """Start the command; return its pid, None when that failed, which is reported."""
    ours, theirs = os.pipe()
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, guard, theirs)
    os.close(theirs)
    # The streams of the command end when the command does, not the guard.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    report = os.read(ours, 512)
    os.close(ours)
    if not report:
        _send({"pid": pid})
        return pid
    os.waitpid(pid, 0)
    _send(json.loads(report))
    return None


def _become(order: dict[str, Any], guard: int, report: int) -> NoReturn:
    stage = "session"
    try:
        os.setsid()
        stage = "user"
        if user := order["user"]:
            os.setgroups(user["groups"])
            os.setresgid(user["gid"], user["gid"], user["gid"])
            os.setresuid(user["uid"], user["uid"], user["uid"])
        stage = "directory"
        os.chdir(order["directory"])
        stage = "executable"
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        # After the change of user, which resets it.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:
            os.execve(order["executable"], order["argv"], order["environment"])
    except OSError as error:
        os.write(report, json.dumps({"failed": stage, "errno": error.errno}).encode())
    os._exit(127)


class _Watch:
    """The command from its start until its process group is empty."""

    def __init__(self, pid: int, grace: float) -> None:
        self.pid = pid
        self.grace = grace
        self.status: int | None = None
        self.deadline: float | None = None
        self.killed = False

    def run(self, woken: int) -> None:
        """Serve the host until no process of the group is left."""
        poll = select.poll()
        poll.register(CONTROL, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            self._reap()
            if self.status is not None and not self._signal(0):
                return
            if self.deadline is not None and time.monotonic() >= self.deadline:
                self.deadline, self.killed = None, True
                self._signal(signal.SIGKILL)
            ready = [descriptor for descriptor, _ in poll.poll(self._wait())]
            if woken in ready:
                os.read(woken, 512)
            if CONTROL in ready:
                self._serve(poll)

    def _serve(self, poll: select.poll) -> None:
        try:
            data = os.read(CONTROL, 512)
        except OSError:
            data = b""
        if data:
            self._stop(float(data.split()[-1]))
        else:  # the host is gone
            poll.unregister(CONTROL)
            self._stop(self.grace)

    def _stop(self, seconds: float) -> None:
        """End the group; a later call may only shorten the time it has."""
        until = time.monotonic() + seconds
        if self.deadline is None and not self.killed:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            self.deadline = until
        elif self.deadline is not None:
            self.deadline = min(self.deadline, until)

    def _reap(self) -> None:
        """Wait for what has ended. When the command itself has, end what it left in its group."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status
                self._stop(self.grace)

    def _wait(self) -> float | None:
        """How long to wait for news at most, in milliseconds."""
        waits = [] if self.deadline is None else [max(0.0, self.deadline - time.monotonic())]
        waits += [_LOOK] if self.status is not None or self.killed else []
        return min(waits) * 1000 + 1 if waits else None

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; return whether there is a process in it."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def main() -> None:
    """Read the order, start the command and watch it."""
    order = _read_order()
    if order is None:
        return
    os.set_inheritable(CONTROL, False)
    os.closerange(CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
    # What the command orphans becomes a child of the guard, so that its end is noticed.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # They get a handler and are not ignored: what is ignored stays so in the command.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    pid = _start(order)
    if pid is None:
        return
    watch = _Watch(pid, order["grace"])
    watch.run(woken)
    _send({"status": watch.status})


if __name__ == "__main__":
    main()
