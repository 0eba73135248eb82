"""How long a change of the configuration takes from the server's word to its being in force."""

from skep.supervisor.report import Report
from skep.supervisor.rollout.gate import Request


def propagation(request: Request, report: Report) -> dict[str, float]:
    """Return the seconds that each stage took, for those whose two ends are known.

    A change that was refused, or that nobody told of, has no stages that end in its being applied.
    """
    if report.outcome not in ("committed", "live") or not request.pulled:
        return {}
    moments = {
        "notified": request.notified,
        "pulled": request.pulled,
        "written": report.written_at,
        "applied": report.at,
    }
    pairs = [
        ("notified", "pulled"),
        ("pulled", "written"),
        ("written", "applied"),
        ("notified", "applied"),
    ]
    return {
        # The clock may have been set meanwhile.
        f"{begin}_to_{end}": max(0.0, moments[end] - moments[begin])
        for begin, end in pairs
        if moments[begin] and moments[end]
    }
