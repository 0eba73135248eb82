"""What became of a rollout, as it is told to people."""

import time
from dataclasses import dataclass
from typing import Any, Literal

from skep.supervisor.generation import Generation
from skep.supervisor.rollout.gate import Request
from skep.wire.plan import Problem

Outcome = Literal["committed", "live", "refused", "rolled back", "unchanged", "superseded"]


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
            "problems": [
                {
                    "stage": p.stage,
                    "message": p.message,
                    "plugin": p.plugin,
                    "file": p.file,
                    "line": p.line,
                    "trace": p.trace,
                }
                for p in self.problems
            ],
        }


def about(
    request: Request,
    outcome: Outcome,
    serving: Generation | None,
    problems: tuple[Problem, ...],
    seconds: float,
    written_at: float,
) -> Report:
    """Return the report on a request; `serving` is the generation in service after it."""
    return Report(
        outcome=outcome,
        generation=serving.number if serving else 0,
        cause=request.cause,
        reason=request.reason,
        at=time.time(),
        seconds=seconds,
        written_at=written_at,
        problems=problems,
        release_keys=tuple(serving.configuration.release_keys.items()) if serving else (),
    )
