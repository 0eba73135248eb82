"""Publishing, rollbacks, branches and their history."""

import pytest

from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.branches import GrayRule
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.releases import ReleaseOperation
from tests.unit.configserver.store import Store, by

AT = Address("someApp", "default", "application")
ANN = by("ann")
TITLE = ReleaseTitle("t")


def publish(store: Store, **values: str) -> int:
    for key, value in values.items():
        store.put_item(AT, Draft(key, value), "ann")
    return store.publish(AT)[0].id


def released(store: Store, at: Address = AT) -> dict[str, str]:
    release = store.latest_release(at)
    assert release is not None
    return release.values()


def operations(store: Store) -> list[str]:
    found = store.desk.view.history(ANN, AT, 0, 50)
    return [entry.operation.name for entry in reversed(found)]


def test_a_rollback_may_put_the_items_back_too(store: Store) -> None:
    publish(store, k="A")
    second = publish(store, k="B", more="x")
    store.put_item(AT, Draft("draft", "y"), "bob")
    current = store.desk.publisher.roll_back(ANN, second, restore=True)
    assert current.values() == released(store) == {"k": "A"}
    assert store.values(AT) == {"k": "A"}
    # So the next publish does not bring back what was rolled back
    assert store.publish(AT)[0].values() == {"k": "A"}


@pytest.mark.parametrize("case", ["only one", "twice", "itself", "later", "elsewhere", "unknown"])
def test_a_rollback_to_nowhere_is_refused(store: Store, case: str) -> None:
    first = publish(store, k="A")
    second = publish(store, k="B") if case != "only one" else first
    other = store.publish(AT._replace(namespace="other"))[0].id
    targets = {"itself": second, "later": 0, "elsewhere": other, "unknown": 99}
    release = second
    if case == "twice":
        store.desk.publisher.roll_back(ANN, second)
    if case == "later":
        release, targets["later"] = first, second
    with pytest.raises(NotFound if case == "unknown" else InvalidRequest):
        store.desk.publisher.roll_back(ANN, release, targets.get(case, 0))


def branched(store: Store) -> Address:
    """Publish k=1, and a branch of it with k=gray; return where the branch's items are."""
    publish(store, k="1", plain="p")
    branch = store.desk.branches.create(ANN, AT)
    store.put_item(branch.address, Draft("k", "gray"), "ann")
    store.desk.branches.set_rules(
        ANN, AT, branch.address.cluster, [GrayRule("someApp", ("1.1.1.1",))]
    )
    store.desk.branches.publish(ANN, AT, branch.address.cluster, TITLE)
    return branch.address


def test_a_branch_is_the_masters_release_with_its_items_on_top(store: Store) -> None:
    branch = branched(store)
    assert released(store, branch) == {"k": "gray", "plain": "p"}
    assert released(store) == {"k": "1", "plain": "p"}
    assert [one.address for one in store.announced] == [AT] * 3
    # Publishing at the branch's own address is the same
    store.put_item(branch, Draft("more", "m"), "ann")
    store.publish(branch)
    assert released(store, branch) == {"k": "gray", "plain": "p", "more": "m"}


def test_a_branch_follows_its_master_forth_and_back(store: Store) -> None:
    branch = branched(store)
    # An item of the branch that is not released is not carried along
    store.put_item(branch, Draft("draft", "d"), "ann")
    newest = publish(store, plain="q")
    assert released(store, branch) == {"k": "gray", "plain": "q"}
    store.desk.publisher.roll_back(ANN, newest)
    assert released(store, branch) == {"k": "gray", "plain": "p"}
    assert operations(store) == [
        *("NORMAL", "RULES", "GRAY", "NORMAL", "MASTER_TO_GRAY", "ROLLBACK", "ROLLBACK_TO_GRAY"),
    ]


def test_keys_that_a_gray_release_takes_away_stay_away(store: Store) -> None:
    branch = branched(store)
    store.desk.branches.publish(ANN, AT, branch.cluster, TITLE, ["plain"])
    publish(store, more="m")
    assert released(store, branch) == {"k": "gray", "more": "m"}


@pytest.mark.parametrize("delete", [True, False])
def test_a_merge_writes_the_branchs_items_into_the_master(store: Store, delete: bool) -> None:
    branch = branched(store)
    store.desk.branches.merge(ANN, AT, branch.cluster, TITLE, delete=delete)
    assert released(store) == store.values(AT) == {"k": "gray", "plain": "p"}
    assert (store.find(branch) is None) == delete
    if delete:
        assert operations(store)[-2:] == ["DELETE_AFTER_MERGE", "MERGE_TO_MASTER"]
    assert store.announced[-1].address == AT


def test_a_branch_leaves_nothing_behind(store: Store) -> None:
    branch = branched(store)
    store.desk.branches.delete(ANN, AT, branch.cluster)
    assert store.find(branch) is None
    assert [one.name for one in store.desk.view.clusters(ANN, AT.app_id)] == ["default"]
    assert operations(store)[-1] == ReleaseOperation.ABANDON_GRAY.name
    with pytest.raises(NotFound):
        store.desk.branches.delete(ANN, AT, branch.cluster)
    assert store.desk.branches.create(ANN, AT).address.cluster != branch.cluster


def test_a_namespace_has_one_branch_and_a_branch_none(store: Store) -> None:
    branch = branched(store)
    for at in (AT, branch):
        with pytest.raises(InvalidRequest, match="branch"):
            store.desk.branches.create(ANN, at)
    gray = store.latest_release(branch)
    assert gray is not None
    with pytest.raises(InvalidRequest, match="gray one"):
        store.desk.publisher.roll_back(ANN, gray.id)


def test_a_deleted_namespace_takes_its_branch_along_and_leaves_its_items_in_a_commit(
    store: Store,
) -> None:
    branch = branched(store)
    store.desk.catalogue.delete_namespace(ANN, AT)
    assert (store.find(AT), store.find(branch), store.latest_release(AT)) == (None, None, None)
    (last, *_) = store.desk.view.commits(ANN, AT, 0, 9)
    assert [line["key"] for line in last.changes["deleteItems"]] == ["k", "plain"]
    # And one of the same name begins without them, under a later id
    before = store.announced[-1].id
    publish(store, k="2")
    assert store.announced[-1].id > before
    assert operations(store) == ["NORMAL"]


def test_a_branch_has_one_namespace_and_is_not_made_by_writing(store: Store) -> None:
    branch = branched(store)
    with pytest.raises(NotFound, match="no branch"):
        store.put_item(branch._replace(namespace="other"), Draft("k", "v"), "ann")
    store.desk.branches.delete(ANN, AT, branch.cluster)
    with pytest.raises(NotFound, match="no branch"):
        store.put_item(branch, Draft("k", "v"), "ann")
    with pytest.raises(InvalidRequest, match="name of a branch"):
        store.desk.catalogue.create_cluster(ANN, AT.app_id, branch.cluster)
