"""Who lives, by what is heard."""

from skep.store.liveness import Liveness


def silent_at(pulses: Liveness, *moments: float) -> list[str]:
    return [owner for moment in moments for owner in pulses.look(moment)]


def test_who_is_not_heard_for_a_term_is_silent_and_told_once() -> None:
    pulses = Liveness(5.0)
    pulses.beat("a", 0.0)
    pulses.beat("b", 0.0)
    for moment in (1.0, 2.0, 3.0, 4.0, 5.0):
        assert pulses.look(moment) == []
        pulses.beat("b", moment)
    assert silent_at(pulses, 6.0, 7.0) == ["a"]
    assert pulses.is_silent("a")
    assert not pulses.is_silent("b")


def test_who_is_heard_again_is_not_silent_any_more() -> None:
    pulses = Liveness(5.0)
    pulses.beat("a", 0.0)
    assert silent_at(pulses, 1, 2, 3, 4, 5, 6) == ["a"]
    assert pulses.beat("a", 6.5)
    assert not pulses.is_silent("a")
    assert not pulses.beat("a", 7.0)


def test_when_the_store_itself_slept_everybody_has_a_new_term() -> None:
    pulses = Liveness(5.0)
    pulses.beat("a", 0.0)
    assert silent_at(pulses, 1.0, 61.0, 62.0, 63.0, 64.0, 65.0, 66.0) == []
    assert silent_at(pulses, 67.0) == ["a"]


def test_who_has_gone_is_not_missed() -> None:
    pulses = Liveness(5.0)
    pulses.beat("a", 0.0)
    pulses.forget("a")
    assert silent_at(pulses, 1, 2, 3, 4, 5, 6, 7) == []
