"""What was done to this platform, written to two files of JSON lines in the data directory.

`operations.jsonl` holds the last operations (rollouts, stops, restarts, scaling), who asked for
them and how they went, so that the history outlives the supervisor. `audit.jsonl` has a line for
each command that changes something:

{"ts": "2026-11-23T12:03:04.123Z", "uid": 1000, "pid": 4711, "command": "scale",
 "arguments": {"kind": "web", "count": 4}, "outcome": "ok"}
"""

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skep.base.logs.log import utc
from skep.base.logs.masking import MASK, mask_document
from skep.base.sockets.peer import Peer
from skep.supervisor.processes.events import Events, PhaseEntered, RolloutBegan, RolloutReported
from skep.supervisor.request import RolloutRequest

KEPT = 50
# What is older is in the file before this one, and what is older than that is gone.
_LARGEST = 1024 * 1024
# The payloads of tasks: they may hold anything.
_WITHHELD = frozenset({"values"})

log = logging.getLogger(__name__)


@dataclass
class Operation:
    """One operation; times are Unix time. `phases` are those that are over, with their seconds.

    `notified`, `pulled` and `written` are when its configuration was announced, pulled and on the
    disk, 0 if it was not.
    """

    id: int
    what: str
    requester: str
    reason: str
    began: float
    ended: float | None = None
    outcome: str = ""
    generation: int | None = None
    notified: float = 0.0
    pulled: float = 0.0
    written: float = 0.0
    phases: list[tuple[str, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    phase: str = ""
    _since: float = field(default=0.0, repr=False)

    def enter(self, phase: str, now: float) -> None:
        """A new phase begins, empty when the last one is over."""
        if self.phase:
            self.phases.append((self.phase, round(now - self._since, 3)))
        self.phase, self._since = phase, now

    def to_json(self) -> dict[str, Any]:
        """Return the operation as it is kept and shown."""
        document = {k: v for k, v in asdict(self).items() if not k.startswith("_")}
        document["seconds"] = round(self.ended - self.began, 3) if self.ended else None
        document["phases"] = [{"name": n, "seconds": s} for n, s in self.phases]
        return document


class Operations:
    """The history of operations; `clock` gives Unix time."""

    def __init__(self, path: Path, clock: Callable[[], float], events: Events) -> None:
        self._path = path
        self._clock = clock
        self._over: deque[dict[str, Any]] = deque(_read(path), maxlen=KEPT)
        self._number = max((int(entry["id"]) for entry in self._over), default=0)
        self._going: list[Operation] = []
        self._rollout: Operation | None = None
        self._written = len(self._over)
        events.subscribe(RolloutBegan, self._began)
        events.subscribe(PhaseEntered, self._entered)
        events.subscribe(RolloutReported, self._reported)

    def begin(self, what: str, requester: str, reason: str = "") -> Operation:
        """Begin an operation; `end` has to follow."""
        self._number += 1
        operation = Operation(self._number, what, requester, reason, self._clock())
        self._going.append(operation)
        return operation

    def end(self, operation: Operation, outcome: str) -> None:
        """An operation is over; one that has ended already stays as it is."""
        if operation not in self._going:
            return
        operation.ended = self._clock()
        operation.enter("", operation.ended)
        operation.outcome = outcome
        self._going.remove(operation)
        self._over.append(operation.to_json())
        self._write()

    def latest(self) -> list[dict[str, Any]]:
        """Return the last operations, the oldest first, those that go on at the end."""
        return [*self._over, *(operation.to_json() for operation in self._going)][-KEPT:]

    def _began(self, event: RolloutBegan) -> None:
        if self._rollout is not None:
            self.end(self._rollout, "superseded")
        self._rollout = self._of(event.request)
        self._rollout.generation = event.generation
        self._rollout.enter("planning", self._rollout.began)

    def _entered(self, event: PhaseEntered) -> None:
        if self._rollout is not None:
            over = event.phase in ("finished", "refused")
            self._rollout.enter("" if over else event.phase, self._clock())

    def _reported(self, event: RolloutReported) -> None:
        report, request = event.report, event.request
        operation, self._rollout = self._rollout or self._of(request), None
        operation.generation = report.generation
        operation.notified, operation.pulled = request.notified, request.pulled
        operation.written = report.written_at
        operation.problems = [str(problem) for problem in report.problems]
        self.end(operation, report.outcome)

    def _of(self, request: RolloutRequest) -> Operation:
        what = "reload" if request.cause in ("cli", "signal") else request.cause
        return self.begin(what, request.requester or _REQUESTERS[request.cause], request.reason)

    def _write(self) -> None:
        """Add the latest line; now and then write the file again with what is still kept."""
        lines, flags = [self._over[-1]], os.O_APPEND
        self._written += 1
        if self._written > 2 * KEPT:
            lines, flags, self._written = list(self._over), os.O_TRUNC, len(self._over)
        try:
            _write(self._path, lines, flags)
        except OSError as error:
            log.debug("the history of operations cannot be written: %s", error)


_REQUESTERS = {
    "start": "platform",
    "config": "agent",
    "code": "agent",
    "certificate": "supervisor",
    "cli": "control socket",
    "signal": "signal",
    "rollback": "supervisor",
}


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
            full = _write(self._path, [entry], os.O_APPEND) > _LARGEST
            if full:
                self._path.replace(self._path.with_suffix(".1.jsonl"))
        except OSError as error:
            if not self._complained:
                log.warning("commands are not recorded in %s: %s", self._path, error.strerror)
            self._complained = True


def _write(path: Path, entries: Iterable[Mapping[str, Any]], flags: int) -> int:
    """Write a line for each entry; return how large the file was before, in bytes."""
    flags |= os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        file.write(b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))
    return size


def _read(path: Path) -> list[dict[str, Any]]:
    """What was kept; a line that a crash has cut off does not count."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in lines[-KEPT:]:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("id"), int):
            found.append(entry)
    return found
