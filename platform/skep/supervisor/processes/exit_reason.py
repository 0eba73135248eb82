"""How a process ended, in words."""

import os
from dataclasses import dataclass, replace
from typing import Any

from skep.base.system.exit_status import describe, signal_name
from skep.supervisor.processes.child import Child
from skep.wire.lifecycle import EXIT_DRAINED, EXIT_HUNG
from skep.wire.plan import Problem

_CODES = {EXIT_DRAINED: "clean", EXIT_HUNG: "hang"}


def ended(child: Child) -> str:
    """Return a phrase for the end of a child, with all that is known about it."""
    if child.oom:
        return "killed by the kernel, because memory ran out (SIGKILL)"
    if child.killed_by_another:
        return "killed by SIGKILL, from outside"
    if child.status is not None and os.waitstatus_to_exitcode(child.status) == EXIT_HUNG:
        return "ended by itself, because its event loop was blocked"
    return describe(child.status)


def reason(child: Child) -> str:
    """Return the value of the metric label `reason` for a child that has ended."""
    if child.oom:
        return "oom"
    if child.stuck:
        return "hang" if child.stuck == "hang" else "timeout_kill"
    if child.dismissed:
        return "clean"
    if child.problem is not None and child.problem.stage == "prepare":
        return "boot_failure"
    if child.status is not None and os.WIFEXITED(child.status):
        return _CODES.get(os.WEXITSTATUS(child.status), "exitcode")
    return "signal"


@dataclass(frozen=True)
class Ending:
    """How the latest worker of a slot ended, when (Unix time), and how many ended in all."""

    how: str
    at: float
    count: int


def named(child: Child, problem: Problem) -> Problem:
    """Say which worker had the problem, if the problem does not."""
    if child.name in problem.message:
        return problem
    return replace(problem, message=f"{child.name}: {problem.message}")


def exit_facts(child: Child) -> dict[str, Any]:
    """Return what hooks and events are given about a child that has ended."""
    status = child.status
    killed = status is not None and os.WIFSIGNALED(status)
    return {
        "slot": child.slot,
        "generation": child.generation,
        "pid": child.pid,
        "exit_code": os.WEXITSTATUS(status) if status is not None and not killed else None,
        "signal": signal_name(os.WTERMSIG(status)) if status is not None and killed else "",
    }
