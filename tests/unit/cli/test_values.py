"""The differences that `platform config diff` and `pull` show."""

from skep.cli.config.values import differences


def test_a_diff_names_what_was_added_changed_and_removed() -> None:
    change = differences({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "z": "", "d": ""})
    assert change == [
        ("a", "1", None),
        ("b", "1", "2"),
        ("d", None, ""),
        ("z", None, ""),
    ]
    assert not differences({"a": "1"}, {"a": "1"})
