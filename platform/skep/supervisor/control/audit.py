"""Who has told this platform to do what: one JSON line for each command that changes something.

{"ts": "2026-11-23T12:03:04.123Z", "uid": 1000, "pid": 4711, "command": "scale",
 "arguments": {"kind": "web", "count": 4}, "outcome": "ok"}
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skep.base.logs.log import utc
from skep.base.logs.masking import MASK, mask_document
from skep.base.sockets.peer import Peer

# What is older is in the file before this one, and what is older than that is gone.
_LARGEST = 1024 * 1024
# The payloads of tasks: they may hold anything.
_WITHHELD = frozenset({"values"})

log = logging.getLogger(__name__)


class Audit:
    """The file `audit.jsonl` in the data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complained = False

    def record(
        self, peer: Peer, command: str, arguments: Mapping[str, Any], outcome: str, now: float
    ) -> None:
        """Write down one command; `outcome` is `ok` or the code of the refusal.

        A disk that is full must not keep anybody from stopping the platform, so that is logged
        once and nothing more.
        """
        entry = {
            "ts": utc(now),
            "uid": peer.uid,
            "pid": peer.pid,
            "command": command,
            "arguments": mask_document(dict(arguments))
            | dict.fromkeys(_WITHHELD & arguments.keys(), MASK),
            "outcome": outcome,
        }
        try:
            self._append(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            if not self._complained:
                log.warning("commands are not recorded in %s: %s", self._path, error.strerror)
            self._complained = True

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            full = os.fstat(descriptor).st_size > _LARGEST
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
        if full:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
