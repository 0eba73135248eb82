"""Which release of a namespace is in force, since when, and why it is not the newest."""

from typing import Any

from skep.supervisor.config.in_force import not_followed, releases_in_force

SINCE = {"a": {"release": "A1", "since": 7.0}, "b": {"release": "B0", "since": 5.0}}


def config(*following: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"following": following, "connected": True, **more}


def one(namespace: str, trouble: str = "", reason: str = "", refused: str = "") -> dict[str, Any]:
    return {"namespace": namespace, "trouble": trouble, "reason": reason, "refused": refused}


def why(config: dict[str, Any], unapplied: str = "") -> list[str]:
    rows = releases_in_force({"a": "A1", "b": "B1"}, SINCE, config, unapplied)
    return [row["not_newer"] for row in rows]


def test_a_moment_counts_for_the_release_that_it_was_noted_for_alone() -> None:
    rows = releases_in_force({"a": "A1", "b": "B1"}, SINCE, {}, "")
    assert [(row["release_key"], row["since"]) for row in rows] == [("A1", 7.0), ("B1", 0.0)]


def test_the_trouble_of_a_namespace_comes_before_all_else() -> None:
    following = (one("a", "it is gone", "missing"), one("b"))
    found = config(*following, release_keys={"a": "A2", "b": "B2"})
    assert why(found, "it is pinned") == ["it is gone", "it is pinned"]


def test_what_was_offered_and_is_in_force_needs_no_reason() -> None:
    assert why(config(one("a"), one("b"), release_keys={"a": "A1", "b": "B1"}), "x") == ["", ""]


def test_polls_that_fail_may_hide_something_newer() -> None:
    deaf = config(one("a"), one("b"), connected=False, last_error="it cannot be reached")
    assert why(deaf) == ["it cannot be reached", "it cannot be reached"]


def test_what_passes_by_itself_or_was_refused_is_no_reason_to_be_degraded() -> None:
    found = config(
        one("a", "it is gone", "missing"),
        one("b", "it failed", "http_5xx"),
        one("c", "it is denied", "denied", refused="C2"),
        one("d"),
    )
    assert not_followed(found) == ["namespace a is not followed: it is gone"]
