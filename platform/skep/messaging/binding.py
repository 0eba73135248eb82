"""How this process reaches inboxes: which folder they are in, and who counts what is sent.

Outside of a worker it is the platform in PLATFORM_DATA_DIR.
"""

import os
from collections.abc import Collection
from pathlib import Path

from skep.base.errors import ProcessError
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.messaging.outbox import Outbox

_KEY = "PLATFORM_DATA_DIR"


class PostOffice:
    """The inboxes of one platform. `declared` are the classes of processes that the plugins of
    this process declare, None where no plugins are loaded. `advice` is what to do where a process
    has no inbox and that is not for the platform to say, as in a lab."""

    def __init__(
        self,
        folder: Path,
        telemetry: Telemetry | None = None,
        declared: Collection[type] | None = None,
        advice: str = "",
    ) -> None:
        self.outbox = Outbox(folder)
        self.telemetry = telemetry or Telemetry()
        self.declared = declared
        self.advice = advice


# Module state, because an author's call can come from anywhere in the process.
_office: PostOffice | None = None
_refusal = ""


def current() -> PostOffice:
    """Return that of this process. Raises ProcessError where PLATFORM_DATA_DIR is not set, and
    while plugins are loaded."""
    global _office
    if _office is not None:
        return _office
    if _refusal:
        raise ProcessError(_refusal)
    if not (folder := os.environ.get(_KEY)):
        raise ProcessError(
            "This process is not a worker of a platform: set PLATFORM_DATA_DIR to the data "
            "directory of a running one to reach its processes from here."
        )
    _office = PostOffice(RunDir(folder).inboxes_dir)
    return _office


def bind(office: PostOffice | None) -> PostOffice | None:
    """Make this the one of this process; return the one before."""
    global _office
    before, _office = _office, office
    return before


def refuse(reason: str) -> None:
    """Refuse every message until an office is bound."""
    global _refusal
    _refusal = reason


def _be_forked() -> None:
    """A fork sends on sockets of its own."""
    if _office is not None:
        _office.outbox.close()


os.register_at_fork(after_in_child=_be_forked)
