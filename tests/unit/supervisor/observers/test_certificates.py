"""When a certificate on the disk takes a rollout."""

from skep.supervisor.observers.certificates import AGAIN, Files, Renewal, look

A: Files = {"/etc/cert.pem": "a", "/etc/key.pem": "a"}
HALF: Files = {"/etc/cert.pem": "b", "/etc/key.pem": "a"}
B: Files = {"/etc/cert.pem": "b", "/etc/key.pem": "b"}


def wanted(served: Files, *looks: Files) -> list[str]:
    """Return what is asked for at each look, one a second."""
    renewal, asked = Renewal(), []
    for now, found in enumerate(looks):
        renewal, why = look(renewal, served, found, now)
        asked.append(why)
    return asked


def test_as_long_as_nothing_changes_nothing_is_asked_for() -> None:
    assert wanted(A, A, A, A) == ["", "", ""]


def test_what_is_new_is_asked_for_when_it_is_still_there_at_the_next_look() -> None:
    assert wanted(A, A, B, B) == ["", "", "cert.pem and key.pem changed"]
    assert wanted(A, HALF, B, B) == ["", "", "cert.pem and key.pem changed"]
    assert wanted(A, HALF, HALF) == ["", "cert.pem changed"]


def test_what_was_refused_is_not_asked_for_again() -> None:
    assert wanted(A, HALF, HALF, HALF, HALF) == ["", "cert.pem changed", "", ""]
    assert wanted(A, HALF, HALF, A, HALF, HALF) == ["", "cert.pem changed", "", "", ""]


def test_what_is_new_after_a_refusal_is() -> None:
    assert wanted(A, HALF, HALF, B, B)[-1] == "cert.pem and key.pem changed"


def test_what_was_taken_up_and_rolled_back_is_not_asked_for_again() -> None:
    renewal, _ = look(Renewal(seen=B), A, B, 1)
    renewal, _ = look(renewal, B, B, 2)
    for now in range(3, 6):
        renewal, why = look(renewal, A, B, now)
        assert why == ""


def test_what_was_refused_for_a_passing_reason_is_asked_for_after_an_hour() -> None:
    # A generation may be refused for a broken plugin; the certificate would run out meanwhile
    renewal, why = look(Renewal(seen=B), A, B, 1)
    assert why
    for now, is_wanted in ((AGAIN - 1, False), (AGAIN + 1, True), (AGAIN + 2, False)):
        renewal, why = look(renewal, A, B, now)
        assert bool(why) == is_wanted
    assert look(renewal, A, B, 2 * AGAIN + 2)[1]


def test_a_file_that_is_gone_has_changed() -> None:
    gone = {**A, "/etc/key.pem": ""}
    assert wanted(A, gone, gone)[-1] == "key.pem changed"
