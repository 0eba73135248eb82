"""The log of all processes: how much of it there is, and where it goes."""

import logging
import signal

from skep.base.logs import logfile
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.crew import Crew
from skep.wire.messages import Change


class Logs:
    """Changes the log of the supervisor and of its children; `file` is where it goes, empty for
    where it went at the start."""

    def __init__(self, children: Children, platform: Crew, file: str) -> None:
        self._children = children
        self._platform = platform
        self._file = file

    def set_level(self, level: str) -> None:
        """Log as much as this, here and in the platform slots."""
        if logging.getLevelName(logging.getLogger().level) != level.upper():
            logging.getLogger().setLevel(level.upper())
            for child in self._platform.children.values():
                child.send(Change(0, {}, apply=True, log_level=level))

    def reopen(self) -> None:
        """Let every process open the log file anew."""
        logfile.reopen(self._file)
        for child in self._children:
            child.signal(signal.SIGUSR1)
