import json
from urllib.parse import quote

from skep.config.apollo.answers import PollEntry
from skep.config.apollo.notifications import Notifications, query, shards


def told(*pairs: tuple[str, int]) -> list[PollEntry]:
    return [PollEntry(name, number) for name, number in pairs]


def confirmed(notes: Notifications, news: dict[str, int]) -> bool:
    """Let the server tell this, and confirm it."""
    notes.news(told(*news.items()))
    return notes.confirm(news)


def test_at_first_nothing_was_seen() -> None:
    assert Notifications(["application", "FX.shared"]).ids == {"application": -1, "FX.shared": -1}


def test_names_are_matched_whatever_their_case_and_suffix() -> None:
    notes = Notifications(["application", "FX.shared"])
    answer = told(("APPLICATION", 3), ("fx.shared.properties", 4), ("stranger", 9))
    assert notes.news(answer) == {"application": 3, "FX.shared": 4}


def test_of_two_ids_for_one_namespace_the_higher_counts() -> None:
    assert Notifications(["a"]).news(told(("a", 5), ("A", 7), ("a", 6))) == {"a": 7}


def test_an_empty_answer_is_no_news() -> None:
    notes = Notifications(["a"])
    confirmed(notes, {"a": 5})
    assert notes.news(told()) == {}


def test_an_id_equal_to_ours_is_news_and_leaves_nothing_to_doubt() -> None:
    """C3."""
    notes = Notifications(["a"])
    confirmed(notes, {"a": 5})
    for _ in range(5):
        assert notes.news(told(("a", 5))) == {"a": 5}
        assert notes.confirm({"a": 5}) is False
        assert not notes.doubtful
    # A pull that shows a release after all makes it fruitful
    notes.pulled(["a"])
    assert confirmed(notes, {"a": 5}) is True
    assert notes.ids == {"a": 5}
    assert not notes.unaccounted


def test_news_alone_advance_nothing() -> None:
    notes = Notifications(["a"])
    notes.news(told(("a", 5)))
    assert notes.ids == {"a": -1}


def test_the_first_id_is_believed_at_once() -> None:
    notes = Notifications(["a"])
    assert confirmed(notes, {"a": 5}) is False
    assert notes.ids == {"a": 5}


def test_an_id_is_advanced_when_a_pull_has_shown_the_release() -> None:
    notes = Notifications(["a", "b"])
    confirmed(notes, {"a": 5, "b": 5})
    notes.pulled(["a"])
    assert confirmed(notes, {"a": 6}) is True
    assert notes.ids == {"a": 6, "b": 5}
    assert not notes.unaccounted


def test_an_id_whose_release_no_pull_shows_is_believed_only_the_third_time() -> None:
    notes = Notifications(["a"])
    confirmed(notes, {"a": 5})
    for expected in (5, 5, 6):
        assert confirmed(notes, {"a": 6}) is False
        assert notes.ids == {"a": expected}


def test_two_namespaces_published_together_are_told_in_two_polls_and_both_are_believed() -> None:
    # Given both releases came with the pull that the first notification caused
    notes = Notifications(["a", "b"])
    confirmed(notes, {"a": 5, "b": 5})
    notes.pulled(["a", "b"])
    assert confirmed(notes, {"a": 6}) is True
    # When the second notification comes, and its pull shows nothing new
    assert notes.unaccounted
    assert confirmed(notes, {"b": 7}) is True
    # Then
    assert notes.ids == {"a": 6, "b": 7}


def test_a_lower_id_is_news_and_is_adopted() -> None:
    notes = Notifications(["a"])
    confirmed(notes, {"a": 500})
    assert notes.news(told(("a", 3))) == {"a": 3}
    notes.pulled(["a"])
    confirmed(notes, {"a": 3})
    assert notes.ids == {"a": 3}


def test_forgetting_asks_as_if_for_the_first_time() -> None:
    notes = Notifications(["a"])
    confirmed(notes, {"a": 500})
    notes.pulled(["a"])
    notes.forget()
    assert notes.ids == {"a": -1}
    assert not notes.unaccounted


def test_what_was_told_before_forgetting_is_not_adopted_after_it() -> None:
    """F19."""
    # Given news that waits for its pull, while another pull finds that the server counts anew
    notes = Notifications(["a"])
    news = notes.news(told(("a", 101)))
    notes.forget()
    # When that pull comes
    assert notes.confirm(news) is False
    # Then the old id would hold us for ever
    assert notes.ids == {"a": -1}


def test_messages_are_handed_back_with_the_highest_of_each_number() -> None:
    notes = Notifications(["a", "b"])
    notes.news([PollEntry("A", 7, {"orders+default+a": 7, "shared+default+a": 5})])
    notes.news([PollEntry("a", 8, {"orders+default+a": 3, "shared+default+a": 8})])
    assert json.loads(notes.messages("a")) == {
        "details": {"orders+default+a": 7, "shared+default+a": 8}
    }
    assert notes.messages("b") == ""
    notes.forget()
    assert notes.messages("a") == ""


def test_the_query_is_what_the_protocol_wants() -> None:
    assert json.loads(query({"a": -1, "b": 7})) == [
        {"namespaceName": "a", "notificationId": -1},
        {"namespaceName": "b", "notificationId": 7},
    ]


def test_shards_hold_every_namespace_once_and_keep_to_the_length() -> None:
    ids = {f"team.namespace-{n}": n for n in range(200)}
    parts = shards(ids, 2_000)
    assert {name: number for part in parts for name, number in part.items()} == ids
    assert sum(map(len, parts)) == len(ids)
    assert len(parts) > 1
    assert all(len(quote(query(part))) <= 2_000 for part in parts)


def test_a_name_too_long_for_any_shard_stands_alone() -> None:
    assert shards({"x" * 100: 1, "y" * 100: 2}, 50) == [{"x" * 100: 1}, {"y" * 100: 2}]
