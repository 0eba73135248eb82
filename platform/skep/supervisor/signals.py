"""What the signals mean to the supervisor."""

import asyncio
import signal
from typing import TYPE_CHECKING

from skep.base.linux import become_subreaper
from skep.supervisor.gate import Request

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
            (signal.SIGHUP, self._hang_up),
            (signal.SIGUSR1, self._supervisor.reopen_log),
        ):
            loop.add_signal_handler(number, act)

    def _hang_up(self) -> None:
        self._supervisor.ask(Request("signal", "SIGHUP", forced=True))
