"""What the platform needs of the kernel beyond the standard library; no-ops outside of Linux."""

import ctypes
import fcntl
import os
import signal
import socket
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
# The magic numbers of file systems whose files are on another machine: statfs(2), linux/magic.h.
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
}
# Where the milliseconds since data was sent are in struct tcp_info.
_LAST_DATA_SENT = 44
# More than any struct statfs has.
_STATFS_SIZE = 512


def become_subreaper() -> None:
    """Become the parent of descendants whose own parent dies, so that none escapes (prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Let no program that this process or a child starts gain privileges, setuid or not."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def stay_readable() -> None:
    """Let the new user of this process read its /proc directory, which a change of user forbids
    until the next exec."""
    _prctl(_PR_SET_DUMPABLE, 1)


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that stands for this process and no later one of the same id."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None


def send_signal(pid: int, pidfd: int | None, sig: signal.Signals) -> None:
    """Send a signal; nothing happens if the process has ended."""
    with suppress(ProcessLookupError):
        if pidfd is not None and hasattr(signal, "pidfd_send_signal"):
            signal.pidfd_send_signal(pidfd, sig)
        else:
            os.kill(pid, sig)


def file_system(path: Path) -> int:
    """Return the magic number of the file system that holds `path`, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    found = ctypes.create_string_buffer(_STATFS_SIZE)
    _call("statfs", os.fsencode(path), found, path=str(path))
    return ctypes.c_ulong.from_buffer(found).value & 0xFFFFFFFF


def network_file_system(path: Path, magic: Callable[[Path], int] = file_system) -> str:
    """Return the name of the file system that holds `path` if it is that of a network, else ""."""
    return _NETWORK.get(magic(path), "")


def open_timer() -> int | None:
    """Return a descriptor that becomes readable when the time of `set_timer` is over; None where
    there is no such thing."""
    create = getattr(_libc(), "timerfd_create", None)
    if create is None:
        return None
    descriptor = int(create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    return None if descriptor < 0 else descriptor


def set_timer(descriptor: int, delay: float) -> None:
    """Let a timer expire once in so many seconds, at once if there are none; it does not expire
    when it would have."""
    nanoseconds = max(round(delay * 1e9), 1)  # 0 would disarm it
    seconds, nanoseconds = divmod(nanoseconds, 1_000_000_000)
    value = _TimerSpec(0, 0, seconds, nanoseconds)
    _libc().timerfd_settime(descriptor, 0, ctypes.byref(value), None)


class _TimerSpec(ctypes.Structure):
    """struct itimerspec: the interval, and the time until it expires first."""

    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in ("every_seconds", "every_nanoseconds", "seconds", "nanoseconds")
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        _call("prctl", option, argument, 0, 0, 0)


def _call(function: str, *arguments: Any, path: str | None = None) -> None:
    libc = _libc()
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def unacknowledged(descriptor: int) -> int:
    """Return how many bytes the kernel still holds for the other side of a connection."""
    if sys.platform == "linux" and descriptor >= 0:
        with suppress(OSError):  # it has just been closed
            held = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
            return int.from_bytes(held, sys.byteorder)
    return 0


def age_of_connection(peer: socket.socket) -> float | None:
    """Return for how many seconds a TCP connection has been established, None where the kernel does
    not tell. Call it before anything is sent: until then the kernel's time of the last data sent is
    that of the handshake's end, whatever the client has sent since."""
    if sys.platform != "linux" or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_SENT + 4)
    except OSError:  # it has just been reset
        return None
    return int.from_bytes(info[_LAST_DATA_SENT:], sys.byteorder) / 1000


def ended_children() -> Iterator[tuple[int, int]]:
    """Wait for each child of this process that has ended by now; yield its id and wait status."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status
