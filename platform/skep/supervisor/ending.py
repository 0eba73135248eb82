"""Say how a process ended."""

import os
import signal


def describe(status: int | None) -> str:
    """Return a phrase for a status of os.waitpid: `exited with 3`, `killed by SIGKILL`."""
    if status is None:
        return "ended, nobody knows how"
    if os.WIFSIGNALED(status):
        return f"killed by {_signal_name(os.WTERMSIG(status))}"
    return f"exited with {os.WEXITSTATUS(status)}"


def reason(status: int | None) -> str:
    """Return the value of the metric label `reason`: clean, signal, exitcode or unknown."""
    if status is None:
        return "unknown"
    if os.WIFSIGNALED(status):
        return "signal"
    return "clean" if os.WEXITSTATUS(status) == 0 else "exitcode"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
