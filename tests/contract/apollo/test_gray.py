"""Gray releases: cases C40 to C50."""

import pytest

from tests.contract.apollo.target import USER, ApolloTarget

IP, LABEL = "1.1.1.1", "myLabel"


def gray(target: ApolloTarget, app: str, **values: str) -> str:
    """Publish k1=v1 and a gray release for one address and one label; return the branch."""
    target.publish({"k1": "v1"}, app_id=app)
    branch = target.branch(app, ips=(IP,), labels=(LABEL,), **(values or {"k1": "v1-gray"}))
    target.release(app_id=app, path=f"/branches/{branch}/releases")
    target.settle()
    return branch


def test_the_rules_address_gets_the_gray_release(target: ApolloTarget, app: str) -> None:
    """C40."""
    branch = gray(target, app)
    body = target.config(app_id=app, ip=IP).json()
    assert body["configurations"] == {"k1": "v1-gray"}
    assert body["cluster"] == branch
    assert body["releaseKey"] != target.key(app_id=app)


def test_another_address_does_not(target: ApolloTarget, app: str) -> None:
    """C41."""
    gray(target, app)
    assert target.values(app_id=app, ip="1.1.1.2") == {"k1": "v1"}


def test_the_rules_label_gets_it_from_any_address(target: ApolloTarget, app: str) -> None:
    """C42."""
    gray(target, app)
    assert target.values(app_id=app, ip="9.9.9.9", label=LABEL) == {"k1": "v1-gray"}
    assert target.values(app_id=app, ip="9.9.9.9", label="other") == {"k1": "v1"}


def test_a_proxy_names_the_address_unless_the_client_does(target: ApolloTarget, app: str) -> None:
    """C43."""
    gray(target, app)
    url, headers = f"/configs/{app}/default/application", {"X-Forwarded-For": f"{IP}, 10.0.0.1"}
    found = target.http.get(url, headers=headers).json()["configurations"]
    assert found == {"k1": "v1-gray"}
    found = target.http.get(f"{url}?ip=1.1.1.2", headers=headers).json()["configurations"]
    assert found == {"k1": "v1"}


@pytest.mark.parametrize("field", ["clientIpList", "clientLabelList"])
def test_a_star_stands_for_all_clients_of_the_app(
    target: ApolloTarget, app: str, field: str
) -> None:
    """C44."""
    branch = gray(target, app)
    rule = {"clientAppId": app, "clientIpList": [], "clientLabelList": [], field: ["*"]}
    target.set_rules(branch, [rule], app_id=app)
    assert target.values(app_id=app, ip="9.9.9.9") == {"k1": "v1-gray"}


def test_a_rule_for_another_app_has_no_effect(target: ApolloTarget, app: str) -> None:
    """C45."""
    branch = gray(target, app)
    rule = {"clientAppId": "another", "clientIpList": ["*"], "clientLabelList": []}
    target.set_rules(branch, [rule], app_id=app)
    assert target.values(app_id=app, ip=IP) == {"k1": "v1"}


def test_rules_have_no_effect_before_the_gray_release(target: ApolloTarget, app: str) -> None:
    """C46."""
    target.publish({"k1": "v1"}, app_id=app)
    target.branch(app, ips=(IP,), k1="v1-gray")
    assert target.values(app_id=app, ip=IP) == {"k1": "v1"}


def test_rules_of_a_public_namespace_are_for_the_clients_app(
    target: ApolloTarget, app: str, public: str
) -> None:
    """C47."""
    owner = f"owner{app}"
    target.define(owner, public, public=True)
    target.publish({"k1": "default-v1", "k2": "default-v2"}, public, app_id=owner)
    branch = target.branch(owner, public, ips=(IP,), client=app, k1="gray-v1", k2="gray-v2")
    target.release(public, app_id=owner, path=f"/branches/{branch}/releases")
    target.settle()
    body = target.config(public, app_id=app, ip=IP).json()
    assert body["configurations"] == {"k1": "gray-v1", "k2": "gray-v2"}
    assert target.values(public, app_id=app, ip="1.1.1.2")["k1"] == "default-v1"
    # And with values that the app overrides
    target.associate(app, "default", public)
    target.publish({"k1": "override-v1"}, public, app_id=app)
    merged = target.config(public, app_id=app, ip=IP).json()
    assert merged["configurations"] == {"k1": "override-v1", "k2": "gray-v2"}
    assert merged["releaseKey"].endswith(f"+{body['releaseKey']}")


def test_a_release_of_the_master_reaches_the_branch(target: ApolloTarget, app: str) -> None:
    """C48."""
    gray(target, app)
    target.publish({"k9": "v9"}, app_id=app)
    assert target.values(app_id=app, ip=IP) == {"k1": "v1-gray", "k9": "v9"}
    assert target.values(app_id=app) == {"k1": "v1", "k9": "v9"}


def test_after_a_merge_all_get_the_gray_values(target: ApolloTarget, app: str) -> None:
    """C49."""
    branch = gray(target, app)
    target.release(app_id=app, path=f"/branches/{branch}/merge", deleteBranch="true")
    target.settle()
    assert target.values(app_id=app) == {"k1": "v1-gray"}
    assert target.key(app_id=app, ip=IP) == target.key(app_id=app)


def test_after_the_branch_is_deleted_all_get_the_master(target: ApolloTarget, app: str) -> None:
    """C50."""
    branch = gray(target, app)
    answer = target.write("DELETE", f"/branches/{branch}", app_id=app, operator=USER)
    assert answer.status_code == 200
    target.settle()
    assert target.key(app_id=app, ip=IP) == target.key(app_id=app)
    assert target.values(app_id=app, ip=IP) == {"k1": "v1"}


def test_a_gray_release_may_take_keys_away(target: ApolloTarget, app: str) -> None:
    target.publish({"k1": "v1", "k2": "v2"}, app_id=app)
    branch = target.branch(app, ips=(IP,), k1="v1-gray")
    body = {"releaseTitle": "t", "releasedBy": USER, "grayDelKeys": ["k2"]}
    path = f"/branches/{branch}/gray-del-releases"
    assert target.write("POST", path, body, app_id=app).status_code == 200
    target.settle()
    assert target.values(app_id=app, ip=IP) == {"k1": "v1-gray"}
    assert target.values(app_id=app) == {"k1": "v1", "k2": "v2"}


def test_a_branch_does_not_take_on_the_values_of_its_parent(target: ApolloTarget, app: str) -> None:
    """Revocation is a call of ours."""
    if not target.is_ours:
        pytest.skip("upstream has no such call")
    target.publish({"k2": "v2"}, app_id=app)
    branch = gray(target, app)
    url = f"/apps/{app}/clusters/{branch}/namespaces/application/revocation"
    answer = target.admin.put(url, params={"operator": USER})
    assert answer.status_code == 400
    assert "edit them" in answer.json()["message"]
    items = target.write("GET", "/items", app_id=app, cluster=branch).json()["content"]
    assert [(item["key"], item["value"]) for item in items] == [("k1", "v1-gray")]
