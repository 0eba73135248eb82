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
# What a worker takes no notice of: these are meant for the supervisor, but who sends them to
# everything of a name should not end the workers.
_NOT_OURS = HELD - {signal.SIGTERM, signal.SIGQUIT}


def hold() -> None:
    """Let signals wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def let_go(signals: Iterable[signal.Signals] = HELD) -> None:
    """Let those that wait, and all that come, be handled."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def pass_over() -> None:
    """Take no notice of the signals that are not for children; TERM and QUIT go on waiting.

    They get a handler and are not ignored: what is ignored stays so in programs that are started.
    """
    for number in _NOT_OURS:
        signal.signal(number, _nothing)
    let_go(_NOT_OURS)


def be_default() -> None:
    """Handle signals as any Python program does that has not asked for anything else."""
    for number in HELD:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    let_go()


def _nothing(*_: object) -> None:
    """Handle a signal by doing nothing."""
