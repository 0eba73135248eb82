"""What follows from one pull: each namespace stands for itself."""

import pytest

from skep.config.errors import ApolloError, Broken, Missing, Unusable
from skep.config.snapshots.pulled import Assembly, Pulled
from skep.config.snapshots.snapshot import Release


def release(namespace: str, key: str, **configurations: str) -> Release:
    return Release("orders", "default", namespace, key, configurations)


GOOD = release("a", "A2", x="2")
KEPT = {"a": release("a", "A1", x="1"), "b": release("b", "B1", y="1")}


def assemble(*found: Release | ApolloError, kept: dict[str, Release] | None = None) -> Assembly:
    names = ("a", "b")[: len(found)]
    keep = KEPT if kept is None else kept
    return Pulled(dict(zip(names, found, strict=True)), 7.0).assemble(lambda n, error: keep.get(n))


def test_what_is_good_goes_on_beside_what_is_kept() -> None:
    assembly = assemble(GOOD, Missing("no release", 404))
    snapshot = assembly.snapshot()
    assert snapshot.release_keys() == {"a": "A2", "b": "B1"}
    assert snapshot.fetched_at == 7.0
    [held] = assembly.held
    assert (held.namespace, held.refused, held.release_key) == ("b", False, "")
    assert held.sentence == "Namespace b keeps release B1: no release"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (release("b", "B2", LD_PRELOAD="x"), "denied"),
        (release("b", "B2", **{"y.z": "1", "y-z": "2"}), "collision"),
        (release("b", "B2", y="\0"), "limits"),
    ],
)
def test_a_release_that_must_not_be_applied_is_refused_alone(bad: Release, reason: str) -> None:
    assembly = assemble(GOOD, bad)
    assert assembly.snapshot().values() == {"x": "2", "y": "1"}
    [held] = assembly.held
    assert held.refused
    assert (held.error.reason, held.release_key) == (reason, "B2")
    assert "amespace b" in str(held.error)


def test_what_is_too_large_in_sum_alone_is_refused_where_it_has_changed() -> None:
    large = {f"K{n}": "x" * 120_000 for n in range(9)}
    kept = {"a": release("a", "A1", **large), "b": release("b", "B1", y="1")}
    assembly = assemble(kept["a"], release("b", "B2", **{f"L{k}": v for k, v in large.items()}),
                        kept=kept)  # fmt: skip
    assert assembly.snapshot().release_keys() == {"a": "A1", "b": "B1"}
    assert [(held.namespace, held.error.reason) for held in assembly.held] == [("b", "limits")]


def test_a_namespace_that_has_nothing_to_keep_is_an_error_of_the_whole() -> None:
    assembly = assemble(GOOD, Broken("it failed", 500), kept={})
    assert [held.sentence for held in assembly.held] == ["Namespace b has no release: it failed"]
    with pytest.raises(Broken):
        assembly.snapshot()
    with pytest.raises(Unusable):
        assemble(release("a", "A2", PATH="x"), kept={}).snapshot()


def test_only_what_may_pass_by_itself_is_worth_asking_for_again_soon() -> None:
    assert assemble(GOOD, Missing("gone", 404)).passing is None
    assert assemble(GOOD, release("b", "B2", PATH="x")).passing is None
    assert isinstance(assemble(GOOD, Broken("it failed", 500)).passing, Broken)
