"""A second person for a publish, and its time: the pure decision, then the file."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.publish_policy import PublishPolicy
from skep.configserver.model.publish_requests import (
    PublishRequest,
    RequestState,
    RequestStep,
    digest_of,
    next_step,
)
from skep.configserver.model.refusals import (
    ApprovalMissing,
    InvalidRequest,
    NotFound,
    ReleaseRefused,
    RoleMissing,
)
from skep.configserver.model.rights import AccessRole, Actor
from skep.pages.accounts import Accounts
from tests.configserver import RunningConfigServer, running_config_server
from tests.support import wait_until
from tests.unit.configserver.store import Store, by

AT = Address("shop", "default", "application")
ADMIN = by("admin")
ANN = Actor("ann", "ann-token", grants={"shop": AccessRole.PUBLISH})
BOB = Actor("bob", "bob-token", grants={"shop": AccessRole.PUBLISH})
EVE = Actor("eve", "eve-token", grants={"shop": AccessRole.EDIT})
TITLE = ReleaseTitle("summer", "longer hours")
HOUR = 3_600_000


def now() -> int:
    return time.time_ns() // 1_000_000


def a_request(due_at: int = 0, approver: str = "") -> PublishRequest:
    return PublishRequest(
        *(1, AT, "digest", "t", "", due_at, "ann-token", "ann", 0),
        *(approver, approver, RequestState.OPEN, "", 0),
    )


@pytest.mark.parametrize(
    ("request_", "digest", "approval", "at", "step"),
    [
        (a_request(), "other", True, 0, RequestStep.REFUSE),
        (a_request(approver="bob"), "other", True, 0, RequestStep.REFUSE),
        (a_request(), "digest", True, 9, RequestStep.WAIT),
        (a_request(approver="bob"), "digest", True, 9, RequestStep.PUBLISH),
        (a_request(due_at=10), "digest", False, 9, RequestStep.WAIT),
        (a_request(due_at=10), "digest", False, 10, RequestStep.PUBLISH),
        (a_request(due_at=10), "digest", True, 9, RequestStep.WAIT),
        (a_request(due_at=10), "digest", True, 10, RequestStep.REFUSE),
        (a_request(due_at=10, approver="bob"), "digest", True, 9, RequestStep.WAIT),
        # The server was down at its time
        (a_request(due_at=10, approver="bob"), "digest", True, 99, RequestStep.PUBLISH),
    ],
)
def test_the_next_step(
    request_: PublishRequest, digest: str, approval: bool, at: int, step: RequestStep
) -> None:
    assert next_step(request_, digest, approval=approval, now=at)[0] is step


def test_the_digest_is_that_of_keys_and_values() -> None:
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})
    assert len({digest_of(one) for one in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"})}) == 4


def edit(store: Store, value: str) -> None:
    store.desk.items.put(EVE, AT, Draft("k", value))


def released(store: Store) -> dict[str, str]:
    release = store.latest_release(AT)
    return release.values() if release else {}


def guarded(store: Store) -> None:
    edit(store, "1")
    store.desk.policies.set(ADMIN, AT, PublishPolicy(approval=True))


def test_a_second_person_publishes_what_another_asked_for(store: Store) -> None:
    guarded(store)
    with pytest.raises(ApprovalMissing, match="second person"):
        store.desk.publisher.publish(ANN, AT, TITLE)
    # Who may only edit may ask, and cannot approve
    asked = store.desk.requests.ask(EVE, AT, TITLE)
    assert store.desk.requests.open(BOB) == [asked]
    with pytest.raises(RoleMissing):
        store.desk.requests.approve(EVE, asked.id)
    assert released(store) == {}
    done = store.desk.requests.approve(BOB, asked.id)
    assert (done.state, done.approved_by) == (RequestState.PUBLISHED, "bob")
    assert released(store) == {"k": "1"}
    release = store.latest_release(AT)
    assert release is not None
    assert (release.released_by, release.name, release.comment) == ("bob", *TITLE_TEXTS)
    assert done.release_id == release.id
    assert store.announced
    assert store.desk.requests.open(BOB) == []
    with pytest.raises(InvalidRequest, match="is published already"):
        store.desk.requests.approve(BOB, asked.id)


TITLE_TEXTS = (TITLE.name, TITLE.comment)


def test_no_one_approves_by_another_name(store: Store) -> None:
    guarded(store)
    asked = store.desk.requests.ask(ANN, AT, TITLE)
    for same in (ANN, replace(ANN, name="someone")):
        with pytest.raises(ApprovalMissing, match="another person than 'ann'"):
            store.desk.requests.approve(same, asked.id)
    # People who signed in share what they act by, and are told apart by who they are
    portal = Actor("cid", "portal", grants=ANN.grants, person="cid")
    store.desk.requests.withdraw(ANN, asked.id)
    asked = store.desk.requests.ask(portal, AT, TITLE)
    with pytest.raises(ApprovalMissing):
        store.desk.requests.approve(portal, asked.id)
    dan = replace(portal, name="dan", person="dan")
    assert store.desk.requests.approve(dan, asked.id).state == RequestState.PUBLISHED


def test_one_person_cannot_delete_the_rule_with_its_namespace(store: Store) -> None:
    guarded(store)
    with pytest.raises(RoleMissing, match="admin"):
        store.desk.catalogue.delete_namespace(ANN, AT)
    with pytest.raises(RoleMissing, match="admin"):
        store.desk.catalogue.delete_app_namespace(ANN, AT.app_id, AT.namespace)
    store.desk.catalogue.delete_namespace(ADMIN, AT)


def test_what_changed_since_is_not_published(store: Store) -> None:
    guarded(store)
    asked = store.desk.requests.ask(ANN, AT, TITLE)
    edit(store, "2")
    with pytest.raises(InvalidRequest, match="items have changed since 'ann'"):
        store.desk.requests.approve(BOB, asked.id)
    (refused,) = store.desk.requests.of_namespace(ANN, AT)
    assert (refused.state, "changed" in refused.reason) == (RequestState.REFUSED, True)
    assert released(store) == {}
    assert store.desk.requests.ask(ANN, AT, TITLE).id > asked.id


def test_a_gray_release_and_a_merge_need_the_second_person_too(store: Store) -> None:
    edit(store, "1")
    store.desk.publisher.publish(ANN, AT, TITLE)
    branch = store.desk.branches.create(ANN, AT)
    store.desk.policies.set(ADMIN, AT, PublishPolicy(approval=True))
    name = branch.address.cluster
    with pytest.raises(ApprovalMissing):
        store.desk.branches.publish(ANN, AT, name, TITLE)
    with pytest.raises(ApprovalMissing):
        store.desk.branches.merge(ANN, AT, name, TITLE, delete=False)
    with pytest.raises(ApprovalMissing):
        store.desk.publisher.publish(ANN, branch.address, TITLE)
    asked = store.desk.requests.ask(ANN, branch.address, TITLE)
    assert store.desk.requests.approve(BOB, asked.id).state == RequestState.PUBLISHED


def test_a_scheduled_publish_survives_a_restart(tmp_path: Path) -> None:
    with Store(tmp_path / "config.db") as store:
        edit(store, "1")
        due = now() + HOUR
        asked = store.desk.requests.ask(ANN, AT, TITLE, due)
        assert not store.desk.requests.is_due(due - 1)
        assert store.desk.requests.publish_due(due - 1) == []
    with Store(tmp_path / "config.db") as store:
        assert store.desk.requests.is_due(due)
        (done,) = store.desk.requests.publish_due(due)
        assert (done.id, done.state) == (asked.id, RequestState.PUBLISHED)
        assert released(store) == {"k": "1"}
        # Once
        assert store.desk.requests.publish_due(due + HOUR) == []
        entry = store.desk.view.audit(ADMIN, "shop", 1)[0]
        assert (entry.actor, entry.token, entry.origin) == ("ann", "ann-token", "schedule")


@pytest.mark.parametrize("case", ["edited", "unapproved", "rules", "revoked", "disabled"])
def test_a_scheduled_publish_is_refused(store: Store, case: str) -> None:
    edit(store, "1")
    due = now() + HOUR
    text = store.desk.access.create_token(ADMIN, "ann-token", ANN.grants)
    assert text
    store.desk.requests.ask(ANN, AT, TITLE, due)
    if case == "edited":
        edit(store, "2")
    elif case == "unapproved":
        store.desk.policies.set(ADMIN, AT, PublishPolicy(approval=True))
    elif case == "rules":
        store.desk.policies.set(ADMIN, AT, PublishPolicy(required=("more",)))
    elif case == "revoked":
        store.desk.access.revoke_token(ADMIN, "ann-token")
    (done,) = store.desk.requests.publish_due(due, [ANN.identity] if case == "disabled" else ())
    reasons = {
        "edited": "changed",
        "unapproved": "second person",
        "rules": "'more' is missing",
        "revoked": "has ended",
        "disabled": "account of 'ann', who wanted it, is disabled",
    }
    assert done.state == RequestState.REFUSED
    assert reasons[case] in done.reason
    assert released(store) == {}
    assert store.desk.view.audit(ADMIN, "shop", 1)[0].action == "publish.refuse"


def test_both_a_second_person_and_a_time(store: Store) -> None:
    guarded(store)
    due = now() + HOUR
    asked = store.desk.requests.ask(EVE, AT, TITLE, due)
    assert store.desk.requests.approve(BOB, asked.id).state == RequestState.OPEN
    assert released(store) == {}
    (done,) = store.desk.requests.publish_due(due)
    assert done.state == RequestState.PUBLISHED


def test_what_a_disabled_account_approved_is_not_published(store: Store) -> None:
    guarded(store)
    due = now() + HOUR
    asked = store.desk.requests.ask(EVE, AT, TITLE, due)
    store.desk.requests.approve(BOB, asked.id)
    (done,) = store.desk.requests.publish_due(due, [BOB.identity])
    assert (done.state, "'bob'" in done.reason) == (RequestState.REFUSED, True)
    assert released(store) == {}


def test_a_request_that_makes_no_sense_is_refused(store: Store) -> None:
    ask = store.desk.requests.ask
    with pytest.raises(NotFound):
        ask(ANN, AT, TITLE, now() + HOUR)
    edit(store, "1")
    with pytest.raises(InvalidRequest, match="needs no second person"):
        ask(ANN, AT, TITLE)
    with pytest.raises(RoleMissing):
        ask(EVE, AT, TITLE, now() + HOUR)
    for due in (1, now() + 400 * 24 * HOUR):
        with pytest.raises(InvalidRequest, match="366 days"):
            ask(ANN, AT, TITLE, due)
    store.desk.policies.set(ADMIN, AT, PublishPolicy(required=("more",)))
    with pytest.raises(ReleaseRefused, match="more"):
        ask(ANN, AT, TITLE, now() + HOUR)
    store.desk.policies.set(ADMIN, AT, PublishPolicy())
    asked = ask(ANN, AT, TITLE, now() + HOUR)
    with pytest.raises(InvalidRequest, match=f"Request {asked.id} .* is open"):
        ask(ANN, AT, TITLE, now() + HOUR)
    with pytest.raises(RoleMissing):
        store.desk.requests.withdraw(EVE, asked.id)
    store.desk.requests.withdraw(BOB, asked.id)
    with pytest.raises(InvalidRequest, match="is withdrawn already"):
        store.desk.requests.withdraw(BOB, asked.id)
    with pytest.raises(NotFound):
        store.desk.requests.approve(BOB, 99)
    store.desk.catalogue.delete_namespace(ADMIN, AT)
    assert store.desk.requests.of_namespace(ANN, AT) == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path, app_id="shop") as running:
        yield running


def write(server: RunningConfigServer, method: str, path: str, body: Any = None) -> httpx.Response:
    return server.write(method, path, body, app_id="shop", operator="ann")


def values_of(server: RunningConfigServer) -> Any:
    answer = server.config(app_id="shop")
    return answer.json()["configurations"] if answer.status_code == 200 else None


def test_the_server_publishes_on_time(server: RunningConfigServer) -> None:
    server.open_api.set_item("shop", "default", "application", "k", "1", "ann")
    body = {"releaseTitle": "t", "releasedBy": "ann"}
    for at in ("tomorrow", "2030-01-31T18:00:00", "2000-01-31T18:00:00Z"):
        assert write(server, "POST", "/publish-requests", {**body, "at": at}).status_code == 400
    at = datetime.fromtimestamp(time.time() + 1, UTC).isoformat()
    asked = write(server, "POST", "/publish-requests", {**body, "at": at}).json()
    assert (asked["state"], asked["requestedBy"]) == ("open", "ann")
    wait_until(lambda: values_of(server) == {"k": "1"})
    (done,) = write(server, "GET", "/publish-requests").json()
    assert (done["state"], done["approvedBy"]) == ("published", None)


def test_the_server_knows_whose_account_is_disabled(
    server: RunningConfigServer, tmp_path: Path
) -> None:
    server.publish({"k": "1"}, app_id="shop")
    with Accounts(tmp_path / "accounts.db") as accounts, Store(tmp_path / "config.db") as store:
        zoe = accounts.create("zoe", "hash", {"shop": "publish"}, "ann")
        accounts.set_enabled(zoe.id, enabled=False)
        edit(store, "2")
        actor = Actor("zoe", "portal", grants=ANN.grants, person="portal zoe")
        store.desk.requests.ask(actor, AT, TITLE, now() + 1000)
        wait_until(lambda: not store.desk.requests.open(ADMIN))
        (done,) = store.desk.requests.of_namespace(ADMIN, AT)
        assert (done.state, "is disabled" in done.reason) == (RequestState.REFUSED, True)
        assert released(store) == {"k": "1"}


def test_a_publish_here_hides_no_publish_of_another_process(
    server: RunningConfigServer, tmp_path: Path
) -> None:
    server.publish({"k": "1"}, app_id="shop")
    (news,) = server.poll({"application": -1}, app_id="shop").json()
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(server.poll, {"application": news["notificationId"]}, app_id="shop")
        wait_until(lambda: server.watchers.held == 1)
        with Store(tmp_path / "config.db") as other:
            other.put_item(AT, Draft("k", "2"), "ann")
            other.publish(AT)
        server.publish({"k": "3"}, "other", app_id="shop")
        # A hold is 50 s, and a test gives up before that
        answer = poll.result(timeout=30)
    assert answer.status_code == 200
    assert values_of(server) == {"k": "2"}


def test_two_tokens_publish_by_the_open_api(server: RunningConfigServer, tmp_path: Path) -> None:
    server.open_api.set_item("shop", "default", "application", "k", "1", "ann")
    assert write(server, "PUT", "/policy", {"approval": True}).status_code == 200
    body = {"releaseTitle": "t", "releasedBy": "ann"}
    direct = write(server, "POST", "/releases", body)
    assert (direct.status_code, "second person" in direct.json()["message"]) == (403, True)
    asked = write(server, "POST", "/publish-requests", body).json()
    root = "/openapi/v1/envs/DEV/publish-requests"
    url = f"{root}/{asked['id']}/approval?operator=bob"
    assert server.http.put(url, headers={"Authorization": server.token}).status_code == 403
    with Store(tmp_path / "config.db") as store:
        roles = {"shop": AccessRole.PUBLISH}
        second = store.desk.access.create_token(ADMIN, "bob", roles)
    headers = {"Authorization": second}
    assert [one["id"] for one in server.http.get(root, headers=headers).json()] == [asked["id"]]
    done = server.http.put(url, headers=headers).json()
    assert (done["state"], done["approvedBy"]) == ("published", "bob")
    assert values_of(server) == {"k": "1"}
    gone = server.http.delete(f"{root}/{asked['id']}?operator=bob", headers=headers)
    assert (gone.status_code, "published already" in gone.json()["message"]) == (400, True)
