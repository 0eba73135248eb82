"""Writes down what became of every change of the configuration, and holds on to what is pinned."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skep.config.snapshots.archive import Archive
from skep.config.snapshots.history import History, HistoryState
from skep.config.snapshots.snapshot import Snapshot
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.request import Report, RolloutRequest

_APPLIED = ("committed", "live", "rolled back")


class ConfigHistory:
    """The supervisor's side of the history.

    `state` says which snapshots are applied, good and pinned. `withheld` is the newest candidate
    that came while another snapshot was pinned. `refused` are the release keys of the newest
    candidate and why it was refused, if it was.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._history = History(archive)
        self.state = self._history.state()
        self._pinning, self._pinned_before = "", 0
        self._left = ""
        self.refused: dict[str, tuple[str, str]] = {}
        self.withheld = ""

    def admit(self, request: RolloutRequest) -> RolloutRequest:
        """Return the request as it may be carried out: a candidate gives way to what is pinned."""
        pinned = self.state.pinned
        if not pinned or not request.snapshot or self._history.load(pinned) is None:
            return request
        self.withheld = request.snapshot
        reason = f"{request.reason} is withheld: snapshot {pinned} is pinned"
        return replace(request, snapshot=str(self._history.path(pinned)), reason=reason)

    def fallback(self, request: RolloutRequest) -> str:
        """Return where the snapshot is that held last, or was at least applied; empty if there is
        none, or if it is what the failed request wanted."""
        number = self.state.good or self.state.applied
        good, bad = self._history.load(number), self._archive.load(Path(request.snapshot))
        if good is None or (bad is not None and bad.digest == good.digest):
            return ""
        return str(self._history.path(number))

    def pin(self, number: int) -> tuple[int, str]:
        """Hold on to an applied snapshot, 0 meaning the one before that in force; return its number
        and its place. A snapshot that is then refused is let go again. Raises ConfigError."""
        path = self._history.find(number)
        self._pinning, self._pinned_before = str(path), self.state.pinned
        if not self.state.pinned and self.state.applied:
            self._left = str(self._history.path(self.state.applied))
        self._set(replace(self.state, pinned=int(path.stem)))
        return self.state.pinned, str(path)

    def unpin(self) -> str:
        """Let go; return what is published as far as is known: the newest candidate that was
        withheld, or else what had been in force. Empty if nothing was pinned."""
        withheld = (self.withheld or self._left) if self.state.pinned else ""
        self.withheld = self._left = ""
        self._set(replace(self.state, pinned=0))
        return withheld

    def held(self) -> None:
        """What is in force has passed its probation."""
        self._set(replace(self.state, good=self.state.applied))

    def reported(
        self, request: RolloutRequest, report: Report, serving: Configuration | None
    ) -> None:
        """Write down the outcome of a request that was about the configuration."""
        applied = report.outcome in _APPLIED
        if request.snapshot and request.snapshot == self._pinning:
            self._pinning = ""
            if report.outcome == "refused":
                self._set(replace(self.state, pinned=self._pinned_before))
        if serving is not None:
            if applied and serving.snapshot is not None:
                self._keep(serving.snapshot, report.at)
            else:
                self._set(self._dated(self.state, serving.release_keys, report.at))
        self._remember_refusal(request, report)
        about_config = bool(request.snapshot or request.changes or request.cause == "config")
        if about_config and (applied or report.outcome == "refused"):
            self._history.record(
                {
                    "outcome": report.outcome,
                    "number": self.state.applied if applied else None,
                    "generation": report.generation,
                    "cause": report.cause,
                    "reason": report.reason,
                    "releases": dict(report.release_keys),
                    "seconds": round(report.seconds, 3),
                    "problems": [str(problem) for problem in report.problems],
                },
                [(change.key, change.old, change.new) for change in request.changes],
            )

    @property
    def withheld_keys(self) -> dict[str, str]:
        """The release keys of the newest candidate that came while another was pinned."""
        snapshot = self._archive.load(Path(self.withheld)) if self.withheld else None
        return snapshot.release_keys() if snapshot else {}

    def audit(self) -> list[dict[str, Any]]:
        """Return what became of the changes that were tried last, the oldest first."""
        return self._history.audit()

    def _remember_refusal(self, request: RolloutRequest, report: Report) -> None:
        if not request.snapshot:
            return
        refused = report.outcome == "refused"
        snapshot = self._archive.load(Path(request.snapshot)) if refused else None
        keys = snapshot.release_keys() if snapshot else {}
        why = str(report.problems[0]) if report.problems else "no reason was given"
        self.refused = {name: (key, why) for name, key in keys.items()}

    def _keep(self, snapshot: Snapshot, now: float) -> None:
        state = self._dated(self.state, snapshot.release_keys(), now)
        if snapshot.digest != state.digest:
            number = self._history.add(snapshot)
            state = replace(state, applied=number, digest=snapshot.digest)
        self._set(state)

    @staticmethod
    def _dated(state: HistoryState, release_keys: Mapping[str, str], now: float) -> HistoryState:
        known = state.releases
        dated = {
            name: known[name]
            if known.get(name, {}).get("release") == key
            else {"release": key, "since": round(now, 3)}
            for name, key in release_keys.items()
        }
        return replace(state, releases=dated)

    def _set(self, state: HistoryState) -> None:
        if state != self.state:
            self.state = state
            self._history.set_state(state)


def propagation(request: RolloutRequest, report: Report) -> dict[str, float]:
    """Return the seconds that each stage took, for those whose two ends are known.

    A change that was refused, or that no notification announced, has no stages that end with it.
    The same values under another release key are written and in force at once.
    """
    is_adopted = report.outcome == "unchanged" and report.written_at
    if not (is_adopted or report.outcome in ("committed", "live")) or not request.pulled:
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
        # The clock may have been set between two moments.
        f"{begin}_to_{end}": max(0.0, moments[end] - moments[begin])
        for begin, end in pairs
        if moments[begin] and moments[end]
    }
