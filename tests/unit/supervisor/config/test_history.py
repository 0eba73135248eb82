"""What the supervisor writes down about the configuration, and what it holds on to."""

from dataclasses import replace
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.snapshot import Release, Snapshot
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.request import KeyChange, Outcome, Report, RolloutRequest
from skep.wire.plan import Problem


class Scene:
    """A history, and configurations that come and go."""

    def __init__(self, directory: Path) -> None:
        self.archive = Archive(directory, "orders", "default", ("a",))
        self.history = ConfigHistory(self.archive)
        self.serving: Configuration | None = None

    def candidate(self, value: str) -> RolloutRequest:
        """Return the request of an agent that has staged a value."""
        release = Release("orders", "default", "a", f"R-{value}", {"x": value})
        return RolloutRequest("config", "", str(self.archive.stage(Snapshot((release,), 1.0))))

    def tried(self, request: RolloutRequest, outcome: Outcome = "committed") -> None:
        """Report an outcome as the rollouts does."""
        if outcome != "refused" and request.snapshot:
            snapshot = self.archive.load(Path(request.snapshot))
            self.serving = Configuration(snapshot, {}, Options(), "digest", {}, {})
        report = Report(outcome, 1, request.cause, request.reason, 0.0)
        self.history.reported(request, report, self.serving)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def apply(scene: Scene, *values: str) -> None:
    for value in values:
        scene.tried(scene.history.admit(scene.candidate(value)))


def test_what_is_applied_gets_a_number_once(scene: Scene) -> None:
    apply(scene, "a", "a", "b", "a")
    assert scene.history.state.applied == 3
    assert [entry["number"] for entry in scene.history.audit()] == [1, 1, 2, 3]


def test_what_was_refused_is_written_down_and_is_not_applied(scene: Scene) -> None:
    apply(scene, "a")
    request = replace(
        scene.candidate("b"), changes=(KeyChange("A_TOKEN", "old1", "new1", "remote", "rollout"),)
    )
    report = Report("refused", 1, "config", "", 0.0, problems=(Problem("load", "it is broken"),))
    scene.history.reported(request, report, scene.serving)
    entry = scene.history.audit()[-1]
    assert (entry["outcome"], entry["number"]) == ("refused", None)
    assert entry["problems"] == ["it is broken"]
    assert entry["changes"][0]["key"] == "A_TOKEN"
    assert "new1" not in str(entry)
    assert scene.history.state.applied == 1


def test_a_change_of_code_is_no_change_of_configuration(scene: Scene) -> None:
    apply(scene, "a")
    scene.tried(RolloutRequest("code", "hello.py"))
    assert len(scene.history.audit()) == 1


def test_while_one_is_pinned_the_others_are_withheld(scene: Scene) -> None:
    apply(scene, "a", "b")
    number, path = scene.history.pin(0)
    assert number == 1
    scene.tried(RolloutRequest("cli", "", path))
    newer = scene.candidate("c")
    admitted = scene.history.admit(newer)
    assert admitted.snapshot == path
    assert "pinned" in admitted.reason
    scene.tried(admitted, "unchanged")
    assert scene.history.unpin() == newer.snapshot
    assert scene.history.admit(newer) == newer


def test_who_lets_go_gets_what_was_in_force_when_nothing_was_published_since(
    scene: Scene,
) -> None:
    apply(scene, "a", "b")
    assert scene.history.unpin() == ""
    in_force = str(scene.archive.directory / "history" / "2.json")
    scene.history.pin(1)
    scene.history.pin(2)
    assert scene.history.unpin() == in_force


def test_the_pin_survives_a_restart(scene: Scene) -> None:
    apply(scene, "a", "b")
    _, path = scene.history.pin(1)
    again = ConfigHistory(scene.archive)
    assert again.admit(scene.candidate("b")).snapshot == path


def test_a_pin_whose_snapshot_is_gone_does_not_hold(scene: Scene) -> None:
    apply(scene, "a", "b")
    _, path = scene.history.pin(1)
    Path(path).unlink()
    newer = scene.candidate("c")
    assert scene.history.admit(newer) == newer


def test_what_is_refused_when_it_is_pinned_is_let_go(scene: Scene) -> None:
    apply(scene, "a", "b")
    _, path = scene.history.pin(1)
    scene.tried(RolloutRequest("cli", "", path), "refused")
    assert scene.history.state.pinned == 0


def test_a_later_refusal_of_other_code_does_not_let_go(scene: Scene) -> None:
    apply(scene, "a", "b")
    _, path = scene.history.pin(1)
    scene.tried(RolloutRequest("cli", "", path))
    scene.tried(RolloutRequest("code", "", path), "refused")
    assert scene.history.state.pinned == 1


def test_only_an_applied_snapshot_can_be_pinned(scene: Scene) -> None:
    apply(scene, "a")
    with pytest.raises(ConfigError, match="no snapshot 7"):
        scene.history.pin(7)
    assert scene.history.state.pinned == 0


def test_the_fallback_is_what_held_last(scene: Scene) -> None:
    assert scene.history.fallback(scene.candidate("a")) == ""
    apply(scene, "a")
    scene.history.held()
    apply(scene, "b")
    path = scene.history.fallback(scene.candidate("b"))
    loaded = scene.archive.load(Path(path))
    assert loaded is not None
    assert loaded.values() == {"x": "a"}


def test_nothing_falls_back_to_itself(scene: Scene) -> None:
    apply(scene, "a")
    scene.history.held()
    assert scene.history.fallback(scene.candidate("a")) == ""
