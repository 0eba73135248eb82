"""Signals that must not end a process before it knows what to do with them.

The default action of most signals is death. So they are held from the first moment (a process that
is started inherits that), and let go when there are handlers.
"""

import signal
from collections.abc import Iterable

HELD = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGWINCH,
    }
)
# What a worker ignores: these are meant for the supervisor, and one that is sent to all processes
# of a name must not end the workers.
_NOT_OURS = HELD - {signal.SIGTERM, signal.SIGQUIT}


def hold() -> None:
    """Block the signals until `let_go`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def let_go(signals: Iterable[signal.Signals] = HELD) -> None:
    """Unblock the signals; pending ones are handled at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def pass_over() -> None:
    """Ignore the signals that are not for children; TERM and QUIT stay blocked.

    They get a handler and are not ignored: what is ignored stays so in programs that are started.
    """
    for number in _NOT_OURS:
        signal.signal(number, lambda *_: None)
    let_go(_NOT_OURS)


def be_default() -> None:
    """Restore Python's default handling of the signals."""
    for number in HELD:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    let_go()
