"""Side effects of the write API: cases C51 to C59."""

import pytest

from tests.contract.apollo.target import BY, USER, ApolloTarget


def test_after_a_rollback_the_older_key_is_in_force(target: ApolloTarget, app: str) -> None:
    """C51, C55."""
    target.publish({"k1": "A"}, app_id=app)
    key = target.key(app_id=app)
    second = target.publish({"k1": "B", "k2": "B"}, app_id=app)
    newer = target.key(app_id=app)
    assert target.roll_back(second).status_code == 200
    assert (target.key(app_id=app), target.values(app_id=app)) == (key, {"k1": "A"})
    assert target.config(app_id=app, releaseKey=newer).status_code == 200
    # The items are still those of B
    items = target.write("GET", "/items", app_id=app, page="0", size="50").json()["content"]
    assert {item["key"]: item["value"] for item in items} == {"k1": "B", "k2": "B"}


def test_the_only_release_cannot_be_rolled_back(target: ApolloTarget, app: str) -> None:
    """C52."""
    assert target.roll_back(target.publish({"k1": "A"}, app_id=app)).status_code == 400
    assert target.values(app_id=app) == {"k1": "A"}


def test_a_release_is_rolled_back_once(target: ApolloTarget, app: str) -> None:
    """C53."""
    for value in "AB":
        second = target.publish({"k1": value}, app_id=app)
    assert target.roll_back(second).status_code == 200
    assert target.roll_back(second).status_code == 400


def test_a_rollback_may_go_back_several_releases(target: ApolloTarget, app: str) -> None:
    """C54."""
    first, _, third = (target.publish({"k1": value}, app_id=app) for value in "ABC")
    url, query = f"/releases/{third}/rollback", {"operator": USER, "toReleaseId": str(first)}
    assert target.admin.put(url, params=query).status_code == 200
    target.settle()
    assert target.values(app_id=app) == {"k1": "A"}
    at = f"/apps/{app}/clusters/default/namespaces/application"
    newest = target.admin.get(f"{at}/releases/histories").json()["content"][0]
    assert (newest["operation"], newest["releaseId"], newest["previousReleaseId"]) == (
        1,
        first,
        third,
    )


def test_a_deleted_namespace_is_not_found(target: ApolloTarget, app: str) -> None:
    """C56."""
    target.publish({"k1": "v1"}, "other", app_id=app)
    at = f"/apps/{app}/clusters/default/namespaces/other"
    assert target.admin.delete(at, params={"operator": USER}).status_code == 200
    target.settle()
    assert target.config("other", app_id=app).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"value": "v"},
        {"key": "", "value": "v"},
        {"key": "other", "value": "v"},
        {"key": "k1", "value": "v", "dataChangeLastModifiedBy": ""},
        {"key": "k1", "value": "v", "dataChangeCreatedBy": None},
    ],
)
def test_an_item_with_a_bad_field_is_refused(
    target: ApolloTarget, app: str, body: dict[str, str | None]
) -> None:
    """C57."""
    target.ensure(app)
    answer = target.write("PUT", "/items/k1", {**BY, **body}, app_id=app, createIfNotExists="true")
    assert (answer.status_code, bool(answer.json()["message"])) == (400, True)
    assert target.write("GET", "/items", app_id=app, page="0", size="9").json()["total"] == 0


def test_an_item_is_created_and_updated(target: ApolloTarget, app: str) -> None:
    """C58."""
    target.ensure(app)
    for value in ("v1", "v2"):
        body = {"key": "k1", "value": value, **BY}
        put = target.write("PUT", "/items/k1", body, app_id=app, createIfNotExists="true")
        assert put.status_code == 200
        item = target.write("GET", "/items/k1", app_id=app).json()
        assert (item["value"], item["dataChangeCreatedBy"]) == (value, USER)


@pytest.mark.parametrize("encoded", ["YS9iPz8%2F", "YS9iPz8/"])
def test_a_key_with_a_slash_goes_round_in_base64(
    target: ApolloTarget, app: str, encoded: str
) -> None:
    """C59."""
    target.set_item("a/b???", "v", app_id=app)
    item = target.write("GET", f"/encodedItems/{encoded}", app_id=app).json()
    assert (item["key"], item["value"]) == ("a/b???", "v")
