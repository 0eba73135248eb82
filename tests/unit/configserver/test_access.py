"""Roles, tokens and access keys in the domain; the signatures themselves are in the contract."""

from collections.abc import Callable

import pytest

from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.access_keys import KeyMode, SignedRequest, sign
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import (
    InvalidRequest,
    NotFound,
    RoleMissing,
    SignatureRefused,
)
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.read_cache import ReadCache
from skep.configserver.storage import access
from tests.unit.configserver.store import Store, by

AT = Address("shop", "default", "application")
ADMIN = by("root")
NOW = 1_700_000_000.0
TARGET = b"/configs/shop/default/application"


def acting(role: AccessRole, app: str = "shop") -> Actor:
    return Actor("ann", "t", grants={app: role})


ACTS: list[tuple[AccessRole, Callable[[Store, Actor], object]]] = [
    (AccessRole.READ, lambda s, a: s.desk.view.items(a, AT)),
    (AccessRole.READ, lambda s, a: s.desk.view.audit(a, "shop", 1)),
    (AccessRole.EDIT, lambda s, a: s.desk.items.put(a, AT, Draft("k", "v2"))),
    (AccessRole.EDIT, lambda s, a: s.desk.items.revoke(a, AT)),
    (AccessRole.EDIT, lambda s, a: s.desk.branches.create(a, AT)),
    (AccessRole.EDIT, lambda s, a: s.desk.catalogue.create_cluster(a, "shop", "dc")),
    (AccessRole.PUBLISH, lambda s, a: s.desk.publisher.publish(a, AT, ReleaseTitle("t"))),
    (AccessRole.PUBLISH, lambda s, a: s.desk.catalogue.delete_namespace(a, AT)),
    (AccessRole.ADMIN, lambda s, a: s.desk.access.create_key(a, "shop")),
    (AccessRole.ADMIN, lambda s, a: s.desk.view.keys(a, "shop")),
]


@pytest.mark.parametrize("number", range(len(ACTS)))
def test_an_act_needs_its_role_for_its_app(store: Store, number: int) -> None:
    needed, act = ACTS[number]
    store.put_item(AT, Draft("k", "v"), "root")
    store.publish(AT)
    for role in AccessRole:
        if role < needed:
            with pytest.raises(RoleMissing, match=needed.name.lower()):
                act(store, acting(role))
    with pytest.raises(RoleMissing):
        act(store, acting(AccessRole.ADMIN, "another"))
    assert store.values(AT) == {"k": "v"}
    act(store, acting(needed))


def test_every_app_is_a_grant_of_its_own(store: Store) -> None:
    every = acting(AccessRole.READ, "*")
    store.put_item(AT, Draft("k", "v"), "root")
    assert [app.app_id for app in store.desk.view.apps(every)] == ["shop"]
    assert store.desk.view.apps(acting(AccessRole.READ, "another")) == []
    with pytest.raises(RoleMissing, match="every app"):
        store.desk.view.audit(acting(AccessRole.ADMIN), "", 1)


def test_a_token_is_shown_once_and_kept_as_a_hash(store: Store) -> None:
    text = store.desk.access.create_token(ADMIN, "ci", {"Shop": AccessRole.EDIT}, 5)
    token = access.token_by_text(store.database.reader, text)
    assert token is not None
    assert (token.name, token.grants, token.expires_at) == ("ci", {"shop": AccessRole.EDIT}, 5)
    assert access.token_by_text(store.database.reader, "other") is None
    assert text.encode() not in store.database.path.with_suffix(".db-wal").read_bytes()
    with pytest.raises(InvalidRequest, match="already"):
        store.desk.access.create_token(ADMIN, "CI", {"*": AccessRole.READ})
    store.desk.access.revoke_token(ADMIN, "ci")
    revoked = access.token_by_text(store.database.reader, text)
    assert revoked is not None
    assert revoked.revoked_at > 0
    with pytest.raises(NotFound):
        store.desk.access.revoke_token(ADMIN, "none")


def gate(store: Store, *own: str, ahead: float = 0.0) -> AccessGate:
    keys = (lambda: own) if own else None
    return AccessGate(ReadCache(store.database), keys, clock=lambda: NOW + ahead)


def request(secret: str) -> SignedRequest:
    stamp = str(round(NOW * 1000))
    return SignedRequest(TARGET, stamp, f"Apollo shop:{sign(secret, stamp, TARGET).decode()}")


def refusal(gate: AccessGate, asked: SignedRequest) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        gate.check("shop", asked)
    return caught.value


def test_a_refusal_names_its_reason(store: Store) -> None:
    key = store.desk.access.create_key(ADMIN, "shop", "first", enabled=True)
    old = store.desk.access.create_key(ADMIN, "shop", "old")
    one = gate(store)
    one.check("SHOP", request("first"))
    reasons = {
        "missing": refusal(one, SignedRequest(TARGET, "", "")),
        "wrong-signature": refusal(one, request("wrong")),
        "unknown-key": refusal(one, request("old")),
        "clock-skew": refusal(gate(store, ahead=75.0), request("first")),
    }
    assert {reason: found.reason for reason, found in reasons.items()} == {r: r for r in reasons}
    assert "75 s behind" in str(reasons["clock-skew"])
    assert "ahead of" in str(refusal(gate(store, ahead=-75.0), request("first")))
    assert refusal(one, SignedRequest(TARGET, str(round(NOW * 1000)), "Apollo")).reason == "missing"
    assert one.refused == 4
    # The gate sees at once that keys are enabled and disabled
    store.desk.access.enable_key(ADMIN, "shop", old.id, KeyMode.FILTER)
    store.desk.access.disable_key(ADMIN, "shop", key.id)
    one.check("shop", request("old"))
    assert refusal(one, request("first")).reason == "unknown-key"


def test_the_servers_own_keys_open_every_app_and_nothing_is_read_unsigned(store: Store) -> None:
    store.desk.access.create_key(ADMIN, "shop", "first", enabled=True)
    one = gate(store, "own", "own2")
    for app in ("shop", "unknown"):
        for secret in ("own", "own2"):
            one.check(app, request(secret))
        with pytest.raises(SignatureRefused):
            one.check(app, SignedRequest(TARGET, "", ""))
    one.check("shop", request("first"))
    with pytest.raises(SignatureRefused):
        one.check("unknown", request("first"))


def test_a_key_that_observes_only_logs(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    key = store.desk.access.create_key(ADMIN, "shop", "first")
    store.desk.access.enable_key(ADMIN, "shop", key.id, KeyMode.OBSERVER)
    one = gate(store)
    one.check("shop", request("first"))
    assert caplog.text == ""
    one.check("shop", request("wrong"))
    assert "observer mode" in caplog.text
    assert one.refused == 0
