"""What was done to this platform: the last operations, who asked for them and how they went.

Rollouts, stops, restarts, scaling and the like are written to `operations.jsonl` in the data
directory when they are over, so that the history outlives the supervisor.
"""

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skep.base.telemetry import Telemetry
from skep.supervisor.report import Report
from skep.supervisor.rollout.gate import Request

KEPT = 50

log = logging.getLogger(__name__)


@dataclass
class Operation:
    """One operation; times are Unix time. `phases` are those that are over, with their seconds."""

    id: int
    what: str
    requester: str
    reason: str
    began: float
    ended: float | None = None
    outcome: str = ""
    generation: int | None = None
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

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._over: deque[dict[str, Any]] = deque(_read(path), maxlen=KEPT)
        self._number = max((int(entry["id"]) for entry in self._over), default=0)
        self._going: list[Operation] = []
        self._rollout: Operation | None = None
        self._written = len(self._over)

    def subscribe(self, telemetry: Telemetry) -> None:
        """Follow the rollouts."""
        telemetry.subscribe("rollout.began", self._began)
        telemetry.subscribe("rollout.phase", self._phase)
        telemetry.subscribe("rollout.reported", self._reported)

    def begin(self, what: str, requester: str, reason: str = "") -> Operation:
        """Begin an operation that somebody will end."""
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

    def _began(self, fields: Mapping[str, Any]) -> None:
        if self._rollout is not None:
            self.end(self._rollout, "superseded")
        self._rollout = self._of(fields["request"])
        self._rollout.generation = fields["generation"]
        self._rollout.enter("planning", self._rollout.began)

    def _phase(self, fields: Mapping[str, Any]) -> None:
        if self._rollout is not None:
            over = fields["phase"] in ("finished", "refused")
            self._rollout.enter("" if over else fields["phase"], self._clock())

    def _reported(self, fields: Mapping[str, Any]) -> None:
        report: Report = fields["report"]
        operation, self._rollout = self._rollout or self._of(fields["request"]), None
        operation.generation = report.generation
        operation.problems = [str(problem) for problem in report.problems]
        self.end(operation, report.outcome)

    def _of(self, request: Request) -> Operation:
        what = "reload" if request.cause in ("cli", "signal") else request.cause
        return self.begin(what, request.requester or _REQUESTERS[request.cause], request.reason)

    def _write(self) -> None:
        """Add the latest line; now and then the file is made anew with what is still kept."""
        lines, flags = [self._over[-1]], os.O_APPEND
        self._written += 1
        if self._written > 2 * KEPT:
            lines, flags, self._written = list(self._over), os.O_TRUNC, len(self._over)
        flags |= os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
            with open(descriptor, "wb") as file:
                file.writelines(json.dumps(line).encode() + b"\n" for line in lines)
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
