"""Discovery and access keys: cases C93 to C106."""

from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.contract.apollo.target import USER, ApolloTarget, asked, sign
from tests.support import wait_until

ENDPOINTS = [
    "/configs/{app}/default/application",
    "/configfiles/{app}/default/application",
    "/configfiles/json/{app}/default/application",
    "/configfiles/raw/{app}/default/application",
    "/notifications/v2?appId={app}&cluster=default&notifications=" + quote(asked({"none": 0})),
]


@pytest.fixture
def secret(target: ApolloTarget, app: str) -> str:
    """The secret of an app that has one access key, and something published."""
    target.publish({"k1": "v1"}, app_id=app)
    return target.create_key(app)[1]


def config_of(app: str, query: str = "") -> str:
    return f"/configs/{app}/default/application{query}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_config_service_is_where_it_was_asked(
    target: ApolloTarget, app: str, method: str
) -> None:
    """C93."""
    target.publish({"k1": "v1"}, app_id=app)
    entries = target.http.request(method, "/services/config?appId=x&ip=y").json()
    url = entries[0]["homepageUrl"].rstrip("/") + config_of(app)
    assert target.http.get(url).json()["configurations"] == {"k1": "v1"}
    assert target.http.request(method, "/services/meta").json() == []
    assert target.http.request(method, "/services/admin").status_code == 200


def test_the_config_service_has_the_name_by_which_it_was_asked(target: ApolloTarget) -> None:
    if not target.is_ours:
        pytest.skip("upstream answers what its registry knows")
    answer = target.http.get("/services/config", headers={"Host": "config.example:8080"})
    assert answer.json()[0]["homepageUrl"] == "http://config.example:8080/"


def test_headers_of_an_app_without_keys_are_ignored(target: ApolloTarget, app: str) -> None:
    """C94."""
    target.publish({"k1": "v1"}, app_id=app)
    for headers in ({"Authorization": f"Apollo {app}:", "Timestamp": "soon"}, {"Timestamp": "1"}):
        assert target.http.get(config_of(app), headers=headers).status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_with_a_key_nothing_is_read_unsigned(
    target: ApolloTarget, app: str, secret: str, path: str
) -> None:
    """C95."""
    assert target.http.get(path.format(app=app)).status_code == 401
    assert target.http.get("/services/config").status_code == 200


@pytest.mark.parametrize("query", ["", "?ip=a+b", "?ip=a%20b", "?messages=%5B%7B%7D%5D&x=%7e"])
def test_a_signature_is_over_the_bytes_as_they_were_sent(
    target: ApolloTarget, app: str, secret: str, query: str
) -> None:
    """C96."""
    assert target.signed(config_of(app, query), secret).status_code == 200
    key = target.signed(config_of(app), secret).json()["releaseKey"]
    assert target.signed(config_of(app, f"?releaseKey={key}"), secret).status_code == 304
    poll = f"/notifications/v2?appId={app}&cluster=default&notifications="
    first = quote(asked({"application": -1}))
    assert target.signed(poll + first, secret).status_code == 200


@pytest.mark.parametrize(
    ("sent", "signs"), [("?a=1&b=2", "?b=2&a=1"), ("?a=%41", "?a=A"), ("?a=+", "?a=%20")]
)
def test_a_signature_over_other_bytes_is_refused(
    target: ApolloTarget, app: str, secret: str, sent: str, signs: str
) -> None:
    """C97."""
    answer = target.signed(config_of(app, sent), secret, signs=config_of(app, signs))
    assert answer.status_code == 401


@pytest.mark.parametrize(("skew", "status"), [(-55.0, 200), (55.0, 200), (-65.0, 401), (65.0, 401)])
def test_a_clock_may_differ_by_less_than_a_minute(
    target: ApolloTarget, app: str, secret: str, skew: float, status: int
) -> None:
    """C98."""
    assert target.signed(config_of(app), secret, skew=skew).status_code == status


@pytest.mark.parametrize("timestamp", ["", "soon", "12.5", "-1", "9" * 40])
def test_a_timestamp_must_be_milliseconds(
    target: ApolloTarget, app: str, secret: str, timestamp: str
) -> None:
    """C98."""
    assert target.signed(config_of(app), secret, timestamp=timestamp).status_code == 401


def test_a_wrong_signature_is_refused(target: ApolloTarget, app: str, secret: str) -> None:
    """C99."""
    assert target.signed(config_of(app), "wrong").status_code == 401
    other = config_of(app).replace("application", "other")
    assert target.signed(config_of(app), secret, signs=other).status_code == 401


def test_the_app_in_the_header_is_ignored(target: ApolloTarget, app: str, secret: str) -> None:
    """C100."""
    assert target.signed(config_of(app), secret, app_id="otherApp").status_code == 200


def test_keys_are_exchanged_without_a_gap(target: ApolloTarget, app: str) -> None:
    """C101."""
    target.publish({"k1": "v1"}, app_id=app)
    (old, first), (_, second) = target.create_key(app), target.create_key(app)
    for secret in (first, second):
        assert target.signed(config_of(app), secret).status_code == 200
    target.disable_key(app, old)
    until(target, lambda: target.signed(config_of(app), first).status_code == 401)
    assert target.signed(config_of(app), second).status_code == 200


@pytest.mark.parametrize("app_id", ["someAppId%20", "s%C3%B6meAppId", "%27%3B--"])
def test_an_app_id_that_is_not_legal_is_refused(target: ApolloTarget, app_id: str) -> None:
    """C102."""
    assert target.http.get(config_of(app_id)).status_code == 400


def test_the_case_of_the_app_does_not_open_the_door(
    target: ApolloTarget, app: str, secret: str
) -> None:
    """C103."""
    assert target.http.get(config_of(app.upper())).status_code == 401
    assert target.signed(config_of(app.upper()), secret).status_code == 200


def test_a_key_that_observes_refuses_nothing(target: ApolloTarget, app: str) -> None:
    """C104."""
    target.publish({"k1": "v1"}, app_id=app)
    target.create_key(app, mode=1)
    assert target.signed(config_of(app), "wrong").status_code == 200
    assert target.http.get(config_of(app)).status_code == 200


def test_only_the_keys_of_the_asking_app_count(target: ApolloTarget, app: str, public: str) -> None:
    """C105."""
    owner = f"owner{app}"
    target.define(owner, public, public=True)
    target.publish({"k1": "v1"}, public, app_id=owner)
    target.create_key(owner)
    assert target.config(public, app_id=owner).status_code == 401
    assert target.values(public, app_id=app) == {"k1": "v1"}


def test_the_signature_of_apollos_own_test() -> None:
    """C106."""
    path = "/configs/someAppId/default/application?ip=10.0.0.1"
    assert sign("someSecret", "1575018989200", path) == "WYjjyJFei6DYiaMlwZjew2O/Yqk="


def test_an_app_has_five_keys_at_most_and_an_enabled_one_stays(
    target: ApolloTarget, app: str
) -> None:
    target.ensure(app)
    keys = [target.create_key(app)[0] for _ in range(5)]
    url = f"/apps/{app}/accesskeys"
    body = {"appId": app, "secret": "x", "dataChangeCreatedBy": USER}
    assert target.admin.post(url, json=body).status_code == 400
    assert target.admin.delete(f"{url}/{keys[0]}", params={"operator": USER}).status_code == 400
    target.disable_key(app, keys[0])
    assert target.admin.delete(f"{url}/{keys[0]}", params={"operator": USER}).status_code == 200
    assert [key["id"] for key in target.admin.get(url).json()] == keys[1:]


def until(target: ApolloTarget, condition: Callable[[], bool]) -> None:
    """Expect what another server does within its cache's 60 s, and ours at once."""
    if not target.is_ours:
        wait_until(condition, deadline=65.0)
    else:
        assert condition()
