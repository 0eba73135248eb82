"""What differs between two configurations."""

from dataclasses import replace

from skep.configserver.display.value_changes import changed_keys, fingerprint, value_changes
from skep.configserver.model.items import Item


def test_keys_are_added_changed_and_deleted() -> None:
    old, new = {"same": "1", "k": "1", "gone": "1"}, {"k": "2", "same": "1", "n": ""}
    assert changed_keys(old, new) == {"k": "changed", "n": "added", "gone": "deleted"}
    added = value_changes("application", {}, {"n": "1\n2"})[0]
    assert [(line.kind, line.right) for line in added.lines] == [("added", "1"), ("added", "2")]
    deleted = value_changes("application", {"n": "1"}, {})[0]
    assert [(line.kind, line.left) for line in deleted.lines] == [("deleted", "1")]


def test_a_secret_is_shown_to_differ_and_not_how() -> None:
    old, new = {"db.password": "one one one"}, {"db.password": "two two two"}
    (masked,) = value_changes("application", old, new)
    assert masked.hides
    assert "one" not in repr(masked.lines) + repr(masked.kind)
    assert masked.lines[0].kind == "changed"
    (revealed,) = value_changes("application", old, new, reveal=True)
    assert (revealed.lines[0].left, revealed.lines[0].right) == ("one one one", "two two two")


def test_a_fingerprint_changes_with_each_save_and_tells_no_value() -> None:
    item = Item(1, "db.password", "hunter2", "", 0, 1, 1, "ann", 0, "ann", 0)
    other = replace(item, id=2, key="k")
    assert fingerprint([item, other]) == fingerprint([other, item])
    assert fingerprint([item]) != fingerprint([item, other])
    assert fingerprint([item]) != fingerprint([replace(item, revision=2)])
    assert fingerprint([item]) == fingerprint([replace(item, value="a guess")])
