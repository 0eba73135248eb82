import json
import subprocess

import pytest

from skep.base.errors import ConfigError
from skep.config.errors import Unusable
from skep.config.snapshots.snapshot import Release, Snapshot, canonical, env_name


def release(namespace: str = "application", key: str = "K1", **configurations: str) -> Release:
    return Release("orders", "default", namespace, key, configurations)


def snapshot(*releases: Release, at: float = 1.5) -> Snapshot:
    return Snapshot(releases, at)


@pytest.mark.parametrize(
    ("namespace", "key", "name"),
    [
        ("application", "db.pool-size", "db_pool_size"),
        ("application", "DB_HOST", "DB_HOST"),
        ("application", "lower", "lower"),
        ("application", "2fa", "_2fa"),
        ("application", "größe", "gr__e"),
        ("application", "٣x", "_x"),
        ("application", "content", "content"),
        ("banner.TXT", "content", "banner_TXT"),
        ("datasources.json", "content", "content"),
        ("app.yaml", "db.hosts[0]", "db_hosts_0_"),
        ("2nd.xml", "content", "_2nd_xml"),
        ("datasources.json", "other", "other"),
    ],
)
def test_a_key_becomes_a_name_that_every_process_accepts(
    namespace: str, key: str, name: str
) -> None:
    assert env_name(namespace, key) == name


def test_the_suffix_properties_is_an_alias_and_is_stripped_once() -> None:
    assert canonical("application.PROPERTIES") == "application"
    assert canonical("a.properties.properties") == "a.properties"
    assert canonical("a.json") == "a.json"


def test_a_later_namespace_overrides_an_earlier_one() -> None:
    both = snapshot(release(a="1", b="1"), release("shared", b="2", c="2"))
    assert both.values() == {"a": "1", "b": "2", "c": "2"}


def test_two_keys_of_one_name_in_one_namespace_are_refused_and_both_are_named() -> None:
    with pytest.raises(Unusable, match=r"'db\.host' and 'db-host' of namespace shared") as caught:
        snapshot(release(), release("shared", **{"db.host": "x", "db-host": "y"})).values()
    assert caught.value.reason == "collision"


def test_keys_that_differ_in_case_are_one_key() -> None:
    """B3: in one namespace they are refused, in two the later one wins in every spelling."""
    with pytest.raises(Unusable, match=r"'MAIL_HOST' and 'mail.host' of namespace appl") as caught:
        release(**{"MAIL_HOST": "1", "mail.host": "1"}).values()
    assert caught.value.reason == "collision"
    both = snapshot(release("a", MAIL_HOST="1"), release("b", **{"mail.host": "2"}))
    assert both.values() == {"MAIL_HOST": "2", "mail_host": "2"}


def test_two_keys_of_one_name_in_two_namespaces_are_an_override() -> None:
    both = snapshot(release(**{"db.host": "x"}), release("shared", **{"db-host": "y"}))
    assert both.values() == {"db_host": "y"}


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("token", "s3cret\0", "NUL"),
        ("token", "s3cret\ud800", "half a character"),
        ("token", "s3cret" * 30_000, "180006 bytes"),
        ("", "s3cret", "empty"),
    ],
)
def test_what_no_process_can_be_given_is_refused_by_key_and_never_shown(
    key: str, value: str, why: str
) -> None:
    with pytest.raises(Unusable, match=why) as caught:
        snapshot(release("shared", **{key: value})).values()
    assert repr(key) in str(caught.value)
    assert "namespace shared" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.reason == "limits"


def test_the_limit_of_one_value_is_the_one_of_the_kernel() -> None:
    longest = "x" * (131_071 - len("K="))
    values = snapshot(release(K=longest)).values()
    assert subprocess.run(["/bin/true"], env=values).returncode == 0
    with pytest.raises(OSError, match="too long"):
        subprocess.run(["/bin/true"], env={"K": longest + "x"})
    with pytest.raises(Unusable):
        snapshot(release(K=longest + "x")).values()


def test_more_than_all_values_together_may_be_is_refused() -> None:
    many = {f"K{n}": "x" * 100_000 for n in range(20)}
    with pytest.raises(Unusable, match="application, shared are 20") as caught:
        snapshot(release(**many), release("shared")).values()
    assert caught.value.reason == "limits"


def test_a_key_with_half_a_character_can_be_named_in_an_error() -> None:
    with pytest.raises(Unusable) as caught:
        snapshot(release(**{"a\ud800": "1", "a+": "2"})).values()
    assert str(caught.value).encode()


def test_the_digest_names_the_content_and_nothing_else() -> None:
    one = snapshot(release(a="1", b="2"))
    assert one.digest == snapshot(release(key="K2", b="2", a="1"), at=9.0).digest
    assert one.digest == snapshot(release(a="1"), release("shared", b="2")).digest
    assert one.digest != snapshot(release(a="1", b="3")).digest
    assert one.digest != snapshot(release(a="1")).digest
    assert snapshot(release(a="bc")).digest != snapshot(release(ab="c")).digest


def test_release_keys_are_found_by_namespace() -> None:
    keys = snapshot(release(), release("shared", key="K2+K3")).release_keys()
    assert keys == {"application": "K1", "shared": "K2+K3"}


def test_a_snapshot_survives_the_way_through_json() -> None:
    one = snapshot(release(a="1\n", b="€"), release("shared", key="K2"))
    assert Snapshot.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"releases": [], "fetched_at": "now"},
        {"releases": [], "fetched_at": True},
        {"releases": {}, "fetched_at": 1},
        {"releases": [], "fetched_at": 1, "more": 1},
        {"releases": [{}], "fetched_at": 1},
        {"releases": [{**release().__dict__, "release_key": 1}], "fetched_at": 1},
        {"releases": [{**release().__dict__, "configurations": {"a": 1}}], "fetched_at": 1},
        {"releases": [{**release().__dict__, "configurations": None}], "fetched_at": 1},
        {"releases": [{**release().__dict__, "more": "x"}], "fetched_at": 1},
    ],
)
def test_any_other_document_is_no_snapshot(document: object) -> None:
    with pytest.raises(ConfigError, match="not a snapshot"):
        Snapshot.from_json(document)


def test_values_do_not_show_in_a_repr() -> None:
    assert "s3cret" not in repr(snapshot(release(token="s3cret")))
