"""The few things of Linux that the standard library does not reach; no-ops elsewhere."""

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def become_subreaper() -> None:
    """Become the parent of descendants whose own parent dies, so that none escapes (prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(sig: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send `sig` to this process when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, sig)


def forbid_new_privileges() -> None:
    """Let no program that this process or a child starts gain privileges, setuid or not."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def stay_readable() -> None:
    """Let the user that this process has become look into /proc of it; a change of user takes that
    away until the next exec."""
    _prctl(_PR_SET_DUMPABLE, 1)


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that stands for this process and no later one of the same id."""
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None


def send_signal(pid: int, pidfd: int | None, sig: signal.Signals) -> None:
    """Send a signal; a process that is gone already is no error."""
    with suppress(ProcessLookupError):
        if pidfd is not None and hasattr(signal, "pidfd_send_signal"):
            signal.pidfd_send_signal(pidfd, sig)
        else:
            os.kill(pid, sig)


def _prctl(option: int, argument: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
