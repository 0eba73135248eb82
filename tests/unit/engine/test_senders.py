"""Which of two generations is the newer one."""

import pytest

from skep.engine.senders import described, is_newer, sender_of

OWN = sender_of("run-1", 9, "0123456789abcdef")


@pytest.mark.parametrize(
    ("sender", "newer"),
    [
        (OWN, False),
        (sender_of("run-1", 10, "0123456789abcdef"), True),  # as numbers, and whatever the code
        (sender_of("run-1", 8, "other"), False),
        (sender_of("run-2", 10, "other"), False),  # of another run nothing newer will come
        ("", False),
        ("nonsense", False),
    ],
)
def test_only_a_later_generation_of_the_same_run_is_newer(sender: str, newer: bool) -> None:
    assert is_newer(sender, OWN) is newer


def test_who_knows_no_age_of_its_own_gives_nothing_back() -> None:
    assert not is_newer(OWN, "")


def test_a_sender_is_shown_by_its_generation_and_code() -> None:
    assert described(OWN) == {"generation": 9, "code": "0123456789ab"}
    assert described("") is None
