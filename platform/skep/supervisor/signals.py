"""What the signals mean to the supervisor."""

import asyncio
import os
import signal

from skep.base.system import signals
from skep.base.system.linux import become_subreaper
from skep.supervisor.control.commands import ControlOwner
from skep.supervisor.control.control import Control
from skep.supervisor.processes.children import Children
from skep.supervisor.request import RolloutRequest


class Signals:
    """Carries out each signal."""

    def __init__(self, owner: ControlOwner, children: Children, control: Control) -> None:
        self._owner = owner
        self._children = children
        self._control = control

    def handle(self) -> None:
        """Install the handlers in the running loop."""
        become_subreaper()
        loop = asyncio.get_running_loop()
        for number, act in (
            (signal.SIGCHLD, self._children.reap),
            (signal.SIGTERM, self._owner.stop),
            (signal.SIGINT, self._owner.stop),
            (signal.SIGQUIT, self._quit),
            (signal.SIGHUP, self._hang_up),
            (signal.SIGTTIN, self._more),
            (signal.SIGTTOU, self._fewer),
            (signal.SIGWINCH, self._drain),
            (signal.SIGUSR1, self._control.logs.reopen),
            (signal.SIGUSR2, self._nothing),
        ):
            loop.add_signal_handler(number, act)
        signals.let_go()

    def _hang_up(self) -> None:
        self._owner.ask(RolloutRequest("signal", "SIGHUP", forced=True))

    def _quit(self) -> None:
        self._owner.stop()
        self._owner.stop()

    def _more(self) -> None:
        self._control.scaling.one_web_worker(more=True)

    def _fewer(self) -> None:
        self._control.scaling.one_web_worker(more=False)

    def _drain(self) -> None:
        # A terminal sends this one whenever its window changes its size.
        if not os.isatty(0) and not os.isatty(1):
            self._control.scaling.begin_drain()

    def _nothing(self) -> None:
        """Ignore it."""
