"""The end of a process in words."""

import os
import signal


def describe(status: int | None) -> str:
    """Return a phrase for a status of os.waitpid: `exited with 3`, `killed by SIGKILL`."""
    if status is None:
        return "ended, it is not known how"
    if os.WIFSIGNALED(status):
        return f"killed by {signal_name(os.WTERMSIG(status))}"
    return f"exited with {os.WEXITSTATUS(status)}"


def signal_name(number: int) -> str:
    """Return `SIGTERM` for 15; `signal 40` for a signal without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
