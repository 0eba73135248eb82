from skep.agent.config_sync import Complaints


def test_the_same_trouble_is_told_once_and_again_after_a_minute() -> None:
    complaints = Complaints(60.0)
    due = [now for now in range(0, 200, 10) if complaints.due("down", now)]
    assert due == [0, 60, 120, 180]


def test_another_trouble_is_told_at_once_even_when_two_take_turns() -> None:
    complaints = Complaints(60.0)
    told = [text for now in range(6) for text in ("down", "401") if complaints.due(text, now)]
    assert told == ["down", "401"]


def test_after_all_was_well_even_known_trouble_is_news() -> None:
    complaints = Complaints(60.0)
    assert complaints.due("down", 0)
    assert complaints
    complaints.clear()
    assert not complaints
    assert complaints.due("down", 1)


def test_trouble_that_never_repeats_itself_does_not_pile_up() -> None:
    complaints = Complaints(60.0)
    for n in range(1000):
        assert complaints.due(f"error {n}", 0)
    assert complaints.due("error 1", 0)
    assert not complaints.due("error 999", 0)
