"""What the signals mean to the supervisor."""

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from skep.base.system import signals
from skep.base.system.linux import become_subreaper
from skep.supervisor.rollout.gate import Request

if TYPE_CHECKING:
    from skep.supervisor.supervisor import Supervisor


class Signals:
    """Hands each signal to the supervisor."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor

    def handle(self) -> None:
        """Install the handlers in the running loop."""
        become_subreaper()
        loop = asyncio.get_running_loop()
        for number, act in (
            (signal.SIGCHLD, self._supervisor.children.reap),
            (signal.SIGTERM, self._supervisor.stop),
            (signal.SIGINT, self._supervisor.stop),
            (signal.SIGQUIT, self._quit),
            (signal.SIGHUP, self._hang_up),
            (signal.SIGTTIN, self._more),
            (signal.SIGTTOU, self._fewer),
            (signal.SIGWINCH, self._drain),
            (signal.SIGUSR1, self._supervisor.logs.reopen),
            (signal.SIGUSR2, self._nothing),
        ):
            loop.add_signal_handler(number, act)
        signals.let_go()

    def _hang_up(self) -> None:
        self._supervisor.ask(Request("signal", "SIGHUP", forced=True))

    def _quit(self) -> None:
        """Stop, and have no patience."""
        self._supervisor.stop()
        self._supervisor.stop()

    def _more(self) -> None:
        self._supervisor.strength.one_web_worker(more=True)

    def _fewer(self) -> None:
        self._supervisor.strength.one_web_worker(more=False)

    def _drain(self) -> None:
        # A terminal sends this one whenever its window changes its size.
        if not os.isatty(0) and not os.isatty(1):
            self._supervisor.strength.begin_drain()

    def _nothing(self) -> None:
        """Live on."""
