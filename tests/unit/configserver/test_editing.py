"""The acts on items: conflicts, whole texts, revocation, commits and the audit log."""

import pytest

from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import EditConflict, InvalidRequest, NotFound
from skep.configserver.model.rights import AccessRole, Actor
from tests.unit.configserver.store import Store, by

AT = Address("someApp", "default", "application")
ANN, BOB = by("ann"), by("bob")


def test_the_second_of_two_edits_is_a_conflict_that_shows_both(store: Store) -> None:
    store.put_item(AT, Draft("k", "old"), "ann")
    (read,) = store.items(AT)
    store.desk.items.put(ANN, AT, Draft("k", "hers", base=read.revision))
    with pytest.raises(EditConflict, match="'ann' changed it") as conflict:
        store.desk.items.put(BOB, AT, Draft("k", "his", base=read.revision))
    assert conflict.value.yours is not None
    assert conflict.value.theirs is not None
    assert (conflict.value.yours["value"], conflict.value.theirs["value"]) == ("his", "hers")
    assert store.values(AT) == {"k": "hers"}
    # With the revision of the conflict it is saved
    revision = conflict.value.theirs["revision"]
    store.desk.items.put(BOB, AT, Draft("k", "both", base=revision))
    assert store.values(AT) == {"k": "both"}


def test_an_item_that_another_made_or_deleted_is_a_conflict(store: Store) -> None:
    store.put_item(AT, Draft("k", "hers"), "ann")
    with pytest.raises(EditConflict):
        store.desk.items.put(BOB, AT, Draft("k", "his", base=0))
    with pytest.raises(EditConflict):
        store.desk.items.delete(BOB, AT, "k", base=7)
    store.delete_item(AT, "k")
    with pytest.raises(EditConflict, match="deleted") as conflict:
        store.desk.items.put(BOB, AT, Draft("k", "his", base=1))
    assert conflict.value.theirs is None


def test_two_who_save_the_same_do_not_meet(store: Store) -> None:
    store.put_item(AT, Draft("k", "same"), "ann")
    store.desk.items.put(BOB, AT, Draft("k", "same", base=0))
    assert [item.revision for item in store.items(AT)] == [1]


def test_a_set_of_items_is_saved_whole_or_not_at_all(store: Store) -> None:
    store.put_item(AT, Draft("k", "1"), "ann")
    with pytest.raises(EditConflict):
        store.desk.items.save(BOB, AT, [Draft("new", "x"), Draft("k", "2", base=9)])
    with pytest.raises(NotFound):
        store.desk.items.save(BOB, AT, [Draft("new", "x")], ["gone"])
    assert store.values(AT) == {"k": "1"}
    store.desk.items.save(BOB, AT, [Draft("new", "x")], ["k"])
    assert store.values(AT) == {"new": "x"}


def test_a_text_replaces_all_lines_and_keeps_those_that_are_alike(store: Store) -> None:
    lines = [Draft("", "", "# one"), Draft("a", "1"), Draft("b", "2")]
    store.desk.items.replace(ANN, AT, lines)
    base = {item.key: item.revision for item in store.items(AT)}
    lines = [Draft("b", "3"), Draft("", "", "# two"), Draft("a", "1"), Draft("c", "4")]
    store.desk.items.replace(BOB, AT, lines, base)
    found = store.items(AT)
    assert [(i.key, i.value, i.comment) for i in found] == [
        ("b", "3", ""),
        ("", "", "# two"),
        ("a", "1", ""),
        ("c", "4", ""),
    ]
    assert [i.modified_by for i in found] == ["bob", "bob", "ann", "bob"]
    # And the first author, who saves on top of the old text, gets a conflict
    with pytest.raises(EditConflict, match=r"'b'|'c'"):
        store.desk.items.replace(ANN, AT, [Draft("a", "1"), Draft("b", "mine")], base)
    with pytest.raises(InvalidRequest, match="twice"):
        store.desk.items.replace(ANN, AT, [Draft("a", "1"), Draft("a", "2")])


def test_revocation_discards_what_is_not_published(store: Store) -> None:
    store.desk.items.replace(ANN, AT, [Draft("", "", "# c"), Draft("a", "1"), Draft("b", "2")])
    with pytest.raises(NotFound, match="no release"):
        store.desk.items.revoke(ANN, AT)
    store.publish(AT)
    store.desk.items.replace(BOB, AT, [Draft("", "", "# c"), Draft("a", "9"), Draft("new", "x")])
    assert store.desk.view.is_pending(ANN, AT)
    store.desk.items.revoke(ANN, AT)
    assert [(i.key, i.value) for i in store.items(AT)] == [("", ""), ("a", "1"), ("b", "2")]
    assert not store.desk.view.is_pending(ANN, AT)


def test_every_save_is_a_commit_and_a_line_of_the_audit_log(store: Store) -> None:
    store.put_item(AT, Draft("k", "secret"), "ann")
    store.put_item(AT, Draft("k", "secret2"), "bob")
    store.put_item(AT, Draft("k", "secret2"), "bob")
    store.put_item(AT, Draft("other", "x"), "bob")
    commits = store.desk.view.commits(ANN, AT, 0, 10)
    assert [commit.operator for commit in commits] == ["bob", "bob", "ann"]
    (update,) = commits[1].changes["updateItems"]
    assert (update["oldItem"]["value"], update["newItem"]["value"]) == ("secret", "secret2")
    assert len(store.desk.view.commits(ANN, AT, 0, 10, "k")) == 2
    entries = store.desk.view.audit(ANN, AT.app_id, 10)
    assert [(e.actor, e.action, e.address) for e in entries[1:]] == [
        ("bob", "items.save", AT),
        ("ann", "items.save", AT),
    ]
    assert "secret" not in str(entries)
    assert store.desk.view.audit(ANN, AT.app_id, 10, entries[0].id) == entries[1:]
    assert store.desk.view.audit(ANN, "", 10) == entries


def test_items_are_found_by_parts_of_key_and_value(store: Store) -> None:
    other = AT._replace(app_id="otherApp")
    for at, key, value in (
        (AT, "mail.host", "a_b"),
        (AT, "mail_port", "25%"),
        (other, "mail", "x"),
    ):
        store.put_item(at, Draft(key, value), "ann")

    def found(key: str = "", value: str = "", actor: Actor = ANN) -> list[str]:
        return [item.key for _, item in store.desk.view.search(actor, key, value)]

    assert found("MAIL") == ["mail", "mail.host", "mail_port"]
    assert (found("l_p"), found(value="5%"), found("host", "A_")) == (
        ["mail_port"],
        ["mail_port"],
        ["mail.host"],
    )
    assert found("'; --") == found("\\") == []
    reader = Actor("bob", grants={"otherapp": AccessRole.READ})
    assert found("mail", actor=reader) == ["mail"]


def test_the_audit_log_says_from_where_and_with_which_token(store: Store) -> None:
    actor = Actor("ann", "ci", "10.1.2.3", {"someapp": AccessRole.EDIT})
    store.desk.items.put(actor, AT, Draft("k", "v"))
    (entry,) = store.desk.view.audit(ANN, AT.app_id, 10)
    assert (entry.actor, entry.token, entry.origin) == ("ann", "ci", "10.1.2.3")
