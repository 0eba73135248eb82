"""A configuration that has lost its keys is told from one that has changed."""

import pytest

from skep.config.errors import Unusable
from skep.config.snapshots.snapshot import check_shrinkage


def keys(count: int, first: int = 0) -> dict[str, str]:
    return {f"KEY_{n:02}": "s3cret" for n in range(first, first + count)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        (keys(10), keys(5)),
        (keys(9), keys(1)),
        (keys(1), keys(1, first=5)),
        (keys(10), keys(20)),
    ],
)
def test_what_keeps_half_of_its_keys_or_never_had_ten_is_a_change(
    before: dict[str, str], after: dict[str, str]
) -> None:
    check_shrinkage(before, after)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (keys(1), {}, "empty"),
        (keys(10), keys(4), "shrunk"),
        (keys(10), keys(10, first=6), "shrunk"),
    ],
)
def test_what_has_lost_them_is_refused_and_says_how_to_allow_it(
    before: dict[str, str], after: dict[str, str], reason: str
) -> None:
    with pytest.raises(Unusable, match="--allow-empty") as caught:
        check_shrinkage(before, after)
    assert caught.value.reason == reason
    assert "s3cret" not in str(caught.value)
