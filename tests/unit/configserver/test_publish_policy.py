"""JSON Schema and required keys of a namespace: pure checks, then publishing with them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.publish_policy import PublishPolicy, faults
from skep.configserver.model.refusals import InvalidRequest, ReleaseRefused, RoleMissing
from skep.configserver.model.rights import AccessRole, Actor
from tests.configserver import RunningConfigServer, running_config_server
from tests.unit.configserver.store import Store, by

AT = Address("shop", "default", "application")
ANN = by("ann")
SCHEMA = {
    "type": "object",
    "properties": {
        "PORT": {"type": "integer", "maximum": 65535},
        "DB_PASSWORD": {"type": "string", "minLength": 12},
        "MODE": {"enum": ["fast", "safe"]},
    },
    "required": ["PORT"],
}


def policy(schema: Any = None, *required: str) -> PublishPolicy:
    return PublishPolicy("" if schema is None else json.dumps(schema), required)


def shown(rules: PublishPolicy, namespace: str = "application", **values: str) -> list[str]:
    return [str(fault) for fault in faults(rules, namespace, values)]


def test_without_rules_everything_may_be_published() -> None:
    assert shown(policy(), A="1") == []


def test_a_value_is_seen_as_the_type_that_its_schema_declares() -> None:
    assert shown(policy(SCHEMA), PORT="80", DB_PASSWORD="123456789012", MODE="fast") == []
    numbers = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
    assert shown(policy(numbers), A="1.5", B="null") == []
    assert shown(policy(numbers), A="one") == [
        '\'A\' breaks the rule `type`: it must satisfy ["number", "null"], but is "one"'
    ]


def test_a_fault_names_key_rule_and_value_and_shows_no_secret() -> None:
    found = shown(policy(SCHEMA), PORT="70000", DB_PASSWORD="hunter2", MODE="slow")
    assert found == [
        "'PORT' breaks the rule `maximum`: it must satisfy 65535, but is 70000",
        "'DB_PASSWORD' breaks the rule `minLength`: it must satisfy 12, but is ******",
        '\'MODE\' breaks the rule `enum`: it must satisfy ["fast", "safe"], but is "slow"',
    ]
    # A rule for the whole would quote every value
    whole = {"type": "object", "minProperties": 3}
    assert shown(policy(whole), DB_PASSWORD="hunter2") == [
        "The whole namespace breaks the rule `minProperties`: it must satisfy 3"
    ]


def test_required_keys_count_once_with_those_of_the_schema() -> None:
    assert shown(policy(SCHEMA, "PORT", "HOST")) == [
        "'PORT' is missing (rule `required`)",
        "'HOST' is missing (rule `required`)",
    ]


@pytest.mark.parametrize("namespace", ["db.json", "db.yaml"])
def test_a_document_is_checked_as_what_it_says(namespace: str) -> None:
    nested = {"properties": {"db": {"properties": {"password": {"minLength": 9}}}}}
    rules = policy(nested, "db.host")
    assert shown(rules, namespace, content='{"db": {"host": "a", "password": "123456789"}}') == []
    assert shown(rules, namespace, content='{"db": {"password": "hunter2"}}') == [
        "'db.host' is missing (rule `required`)",
        "'db.password' breaks the rule `minLength`: it must satisfy 9, but is ******",
    ]
    assert shown(rules, namespace) == ["'db.host' is missing (rule `required`)"]


def test_yaml_that_could_grow_without_bounds_is_not_expanded() -> None:
    (found,) = shown(policy(None, "a"), "db.yaml", content="a: &x [1]\nb: *x\n")
    assert "aliases" in found


def test_a_schema_fetches_nothing_and_a_dead_reference_is_a_fault() -> None:
    (found,) = shown(policy({"$ref": "http://127.0.0.1:1/schema"}), A="1")
    assert "rule `schema`" in found
    assert "127.0.0.1:1" in found


def test_a_schema_that_cannot_be_evaluated_is_a_fault_and_no_crash() -> None:
    pattern = {"properties": {"A": {"pattern": "("}}}
    with pytest.raises(InvalidRequest, match="2020-12, at properties/A/pattern"):
        policy(pattern).check("application")
    assert "rule `schema`" in shown(policy(pattern), A="1")[0]
    multiple = {"properties": {"A": {"type": "number", "multipleOf": 0.5}}}
    for endless in ("1e999", "NaN", "-Infinity"):
        assert len(shown(policy(multiple), A=endless)) == 1
    # More brackets than the recursion limit
    assert shown(policy({}, "a"), "a.json", content="[" * 100_000) != []


def test_there_are_twenty_faults_at_most() -> None:
    assert len(shown(policy(None, *map(str, range(100))))) == 20


@pytest.mark.parametrize(
    ("rules", "namespace", "reason"),
    [
        (PublishPolicy("{"), "application", "not JSON"),
        (PublishPolicy('{"type": "text"}'), "application", "2020-12, at type"),
        (PublishPolicy("1"), "application", "2020-12, at its root"),
        (policy(None, "A"), "page.xml", "holds xml"),
        (policy(None, " "), "application", "none empty"),
        (PublishPolicy(" " * 300_000), "application", "larger"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(
    store: Store, rules: PublishPolicy, namespace: str, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        store.desk.policies.set(ANN, AT._replace(namespace=namespace), rules)


def test_only_an_administrator_sets_rules(store: Store) -> None:
    publisher = Actor("bob", "bob", grants={"shop": AccessRole.PUBLISH})
    with pytest.raises(RoleMissing):
        store.desk.policies.set(publisher, AT, policy(SCHEMA))


def test_what_breaks_a_rule_is_saved_and_shown_but_not_published(store: Store) -> None:
    store.put_item(AT, Draft("PORT", "80"), "ann")
    store.publish(AT)
    store.desk.policies.set(ANN, AT, policy(SCHEMA))
    store.put_item(AT, Draft("PORT", "many"), "ann")
    (fault,) = store.desk.policies.faults(ANN, AT)
    with pytest.raises(
        ReleaseRefused, match=r"'PORT' .* `type`.* \"integer\", but is \"many\""
    ) as e:
        store.publish(AT)
    assert e.value.faults == [
        {"key": "PORT", "rule": "type", "expected": '"integer"', "value": '"many"'}
    ]
    assert fault.key == "PORT"
    release = store.latest_release(AT)
    assert release is not None
    assert release.values() == {"PORT": "80"}
    # Going back is never refused, and without rules it may be published
    store.desk.policies.set(ANN, AT, PublishPolicy())
    store.publish(AT)


def test_a_branch_follows_the_rules_of_its_namespace(store: Store) -> None:
    store.put_item(AT, Draft("PORT", "80"), "ann")
    store.publish(AT)
    store.desk.policies.set(ANN, AT, policy(SCHEMA))
    branch = store.desk.branches.create(ANN, AT)
    name = branch.address.cluster
    store.put_item(branch.address, Draft("MODE", "slow"), "ann")
    assert [fault.key for fault in store.desk.policies.faults(ANN, branch.address)] == ["MODE"]
    title = ReleaseTitle("t")
    for act in (
        lambda: store.publish(branch.address),
        lambda: store.desk.branches.publish(ANN, AT, name, title),
        lambda: store.desk.branches.merge(ANN, AT, name, title, delete=True),
    ):
        with pytest.raises(ReleaseRefused, match="MODE"):
            act()
    with pytest.raises(ReleaseRefused, match="PORT"):
        store.desk.branches.publish(ANN, AT, name, title, ["PORT"])
    assert store.values(AT) == {"PORT": "80"}


def test_rules_go_with_their_namespace(store: Store) -> None:
    store.desk.policies.set(ANN, AT, policy(SCHEMA))
    store.desk.catalogue.delete_namespace(ANN, AT)
    store.put_item(AT, Draft("A", "1"), "ann")
    assert store.desk.policies.policy(ANN, AT) == PublishPolicy()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path, app_id="shop") as running:
        yield running


def test_the_open_api_sets_shows_and_checks_the_rules(server: RunningConfigServer) -> None:
    def write(method: str, path: str, body: Any = None) -> Any:
        return server.write(method, path, body, app_id="shop", operator="ann")

    server.open_api.set_item("shop", "default", "application", "PORT", "80", "ann")
    rules = {"schema": json.dumps(SCHEMA), "required": ["HOST"], "approval": False}
    assert write("PUT", "/policy", rules).status_code == 200
    assert write("GET", "/policy").json() == rules
    by = {"dataChangeCreatedBy": "ann", "dataChangeLastModifiedBy": "ann"}
    saved = write("PUT", "/items/PORT", {"key": "PORT", "value": "x", **by})
    assert (saved.status_code, saved.headers["Release-Faults"]) == (200, "2")
    found = write("GET", "/release-check").json()["faults"]
    assert [one["key"] for one in found] == ["HOST", "PORT"]
    refused = write("POST", "/releases", {"releaseTitle": "t", "releasedBy": "ann"})
    assert refused.status_code == 400
    assert "'HOST' is missing" in refused.json()["message"]
    assert [one["rule"] for one in refused.json()["faults"]] == ["required", "type"]
    assert write("PUT", "/policy", {"schemas": ""}).status_code == 400
    assert write("PUT", "/policy", {"approval": 1}).status_code == 400
    assert write("PUT", "/policy", {}).status_code == 200
    saved = write("PUT", "/items/PORT", {"key": "PORT", "value": "y", **by})
    assert "Release-Faults" not in saved.headers
