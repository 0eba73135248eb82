"""A request for a rollout, the keys it changes, and the report on what became of it."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from skep.base.logs.masking import mask_value
from skep.wire.plan import Problem

Cause = Literal["start", "config", "code", "certificate", "cli", "signal", "rollback"]
Outcome = Literal["committed", "live", "refused", "rolled back", "unchanged", "superseded"]
Action = Literal["live", "unused", "rollout", "restart"]


@dataclass(frozen=True)
class KeyChange:
    """One key whose value differs; None means not set. `layer` is the one that sets the new value,
    `action` is what the change takes (see `rollout/decision.py`)."""

    key: str
    old: str | None
    new: str | None
    layer: str
    action: Action

    def to_json(self) -> dict[str, str | None]:
        """Return the change with masked values."""
        old, new = (None if v is None else mask_value(self.key, v) for v in (self.old, self.new))
        return asdict(self) | {"old": old, "new": new}


@dataclass(frozen=True)
class RolloutRequest:
    """A request for a rollout.

    `snapshot` is the path of a staged candidate, empty for the one that is applied. `code` is the
    digest of the code on disk, empty if unknown. `problems` are known already. `waiters` are the
    numbers of the control requests that wait for the outcome. A `forced` request is carried out
    even if nothing changed, or if the same combination was refused before. `live` says that it
    probably needs no new worker. `changes` are the keys it changes, once they are known.
    `requester` is who sent it, empty for the usual one of this cause. `notified` and `pulled` are
    when the config server announced the snapshot and when it was pulled, in epoch seconds, or 0.
    """

    cause: Cause
    reason: str = ""
    snapshot: str = ""
    code: str = ""
    problems: tuple[Problem, ...] = ()
    waiters: tuple[int, ...] = ()
    forced: bool = False
    live: bool = False
    changes: tuple[KeyChange, ...] = ()
    requester: str = ""
    notified: float = 0.0
    pulled: float = 0.0


def merge(old: RolloutRequest, new: RolloutRequest) -> RolloutRequest:
    """Return one request for both: the newer value of each field, and all waiters.

    Problems describe a state of the code, so they stand until a newer one arrives; those of a
    rollback only explain it. A reason is kept while it still holds: the reason of a snapshot that
    was replaced does not.
    """
    is_rollback = "rollback" in (old.cause, new.cause)
    overtaken = (new.snapshot or not old.snapshot) and (new.code or not old.code)
    reasons = [new.reason] if overtaken else [old.reason, new.reason]
    return replace(
        new,
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
        snapshot=new.snapshot or old.snapshot,
        code=new.code or old.code,
        problems=new.problems if new.code or is_rollback else old.problems,
        waiters=old.waiters + new.waiters,
        forced=old.forced or new.forced,
        live=old.live and new.live,
        notified=new.notified if new.snapshot else old.notified,
        pulled=new.pulled if new.snapshot else old.pulled,
    )


@dataclass(frozen=True)
class Report:
    """The outcome of one request for a rollout.

    `seconds` is how long it took, `written_at` when its configuration was on the disk, 0 for never;
    `at` and `written_at` are in epoch seconds.
    """

    outcome: Outcome
    generation: int
    cause: str
    reason: str
    at: float
    seconds: float = 0.0
    written_at: float = 0.0
    problems: tuple[Problem, ...] = ()
    release_keys: tuple[tuple[str, str], ...] = ()

    @property
    def sentence(self) -> str:
        """One line for people."""
        match self.outcome:
            case "committed":
                return f"Generation {self.generation} is in service after {self.seconds:.2f} s."
            case "live":
                return f"The workers have taken the change after {self.seconds:.3f} s."
            case "rolled back":
                return f"{self.reason} Generation {self.generation} is what was before it."
            case "refused":
                why = self.problems[0] if self.problems else "no reason was given"
                more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
                return f"The new generation was refused: {why}{more}"
            case "superseded":
                return "A newer request came before this one was done."
            case _:
                return f"Nothing has changed; generation {self.generation} goes on."

    @property
    def details(self) -> str:
        """What the sentence leaves out: the other problems, and the tracebacks of all."""
        others = [str(problem) for problem in self.problems[1:]]
        traces = [problem.trace for problem in self.problems if problem.trace]
        return "".join(f"\n{text}" for text in (*others, *traces))

    def to_json(self) -> dict[str, Any]:
        """Return the report for `platform status --json`."""
        return {
            "outcome": self.outcome,
            "generation": self.generation,
            "cause": self.cause,
            "reason": self.reason,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "release_keys": dict(self.release_keys),
            "problems": [_shown(problem) for problem in self.problems],
        }


def _shown(problem: Problem) -> dict[str, Any]:
    return {key: value for key, value in asdict(problem).items() if key != "rule"}
