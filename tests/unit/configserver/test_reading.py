"""The cache of reads, instances, incremental answers, and the migration of an older file."""

import sqlite3
from pathlib import Path

import pytest

from skep.configserver.model.access_keys import SignedRequest
from skep.configserver.model.branches import GrayRule, overlaid
from skep.configserver.model.instances import Asker
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.releases import configuration_changes
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.instance_book import InstanceBook
from skep.configserver.reading.published import Published
from skep.configserver.reading.read_cache import ReadCache
from skep.configserver.storage import instances, schema
from tests.unit.configserver.store import Store, by

AT = Address("shop", "default", "application")
ASKER = Asker("shop", "default", ip="1.1.1.1")


def test_the_cache_lasts_until_any_commit(store: Store) -> None:
    cache, reads = ReadCache(store.database), []

    def read() -> int:
        reads.append(1)
        return len(reads)

    assert [cache.get("k", read), cache.get("k", read)] == [1, 1]
    store.put_item(AT, Draft("k", "v"), "ann")
    assert [cache.get("k", read), cache.get("k", read)] == [2, 2]
    # And of another process
    other = sqlite3.connect(store.database.path)
    with other:
        other.execute("UPDATE item SET value = 'w'")
    other.close()
    assert cache.get("k", read) == 3


@pytest.mark.parametrize(
    ("rule", "reached"),
    [
        (GrayRule("SHOP", ("1.1.1.1",)), True),
        (GrayRule("shop", ("1.1.1.2",)), False),
        (GrayRule("other", ("*",), ("*",)), False),
        (GrayRule("shop", (), ("canary",)), True),
        (GrayRule("shop", (), ("*",)), True),
        (GrayRule("shop"), False),
    ],
)
def test_a_rule_reaches_clients_by_address_or_label(rule: GrayRule, reached: bool) -> None:
    assert rule.matches("shop", "1.1.1.1", "canary") == reached


def test_changes_are_what_differs() -> None:
    old, new = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}
    assert configuration_changes(old, new) == [
        {"key": "b", "newValue": "9", "configurationChangeType": "MODIFIED"},
        {"key": "d", "newValue": "4", "configurationChangeType": "ADDED"},
        {"key": "c", "configurationChangeType": "DELETED"},
    ]
    assert overlaid(old, {"a": None, "d": "4"}) == {"b": "2", "c": "3", "d": "4"}


def test_there_are_no_changes_from_a_half_known_key(store: Store) -> None:
    store.put_item(AT, Draft("k", "1"), "ann")
    known = store.publish(AT)[0].release_key
    elsewhere = store.publish(AT._replace(namespace="secret"))[0].release_key
    store.put_item(AT, Draft("k", "2"), "ann")
    store.publish(AT)
    published = Published(ReadCache(store.database))
    config = published.config(ASKER, "application")
    assert config is not None
    assert published.changes(config, known) is not None
    another = store.publish(AT._replace(app_id="bank"))[0].release_key
    for key in (f"{known}+gone", f"gone+{known}", elsewhere, another, ""):
        assert published.changes(config, key) is None


def test_an_instance_runs_the_release_it_was_given_last(store: Store) -> None:
    book, published = InstanceBook(store.database), Published(ReadCache(store.database))
    keys = []
    for _ in range(2):
        keys.append(store.publish(AT)[0].release_key)
        for ip in ("1.1.1.1", "1.1.1.2"):
            asker = Asker("shop", "default", ip=ip)
            config = published.config(asker, "APPLICATION")
            assert config is not None
            book.note(asker, config)
            if ip == "1.1.1.2" and len(keys) == 1:
                book.flush()
    book.flush()
    found = instances.of_namespace(store.database.reader, AT)
    assert [(one.ip, one.release_key) for one in found] == [
        ("1.1.1.1", keys[1]),
        ("1.1.1.2", keys[1]),
    ]
    assert all(one.delivered_at <= one.seen_at for one in found)
    assert instances.of_release(store.database.reader, keys[0]) == []
    assert instances.of_other_releases(store.database.reader, AT, keys) == []
    assert len(instances.of_other_releases(store.database.reader, AT, keys[:1])) == 2


def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "config.db"
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(schema.MIGRATIONS[0])
    old.executescript(
        f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = 1;"
        "INSERT INTO app VALUES (1, 'shop', 'ann', 1);"
        "INSERT INTO cluster VALUES (1, 1, 'default', 'ann', 1);"
        "INSERT INTO app_namespace VALUES (1, 1, 'application', 'ann', 1);"
        "INSERT INTO namespace VALUES (1, 1, 'application', 'ann', 1);"
        "INSERT INTO item VALUES (1, 1, 'k', 'draft', '', 0, 1, 'ann', 1, 'ann', 1);"
        "INSERT INTO release VALUES (1, 'key', 1, 't', '', '{\"k\":\"v\"}', 0, 'ann', 1);"
        "INSERT INTO notification VALUES (7, 'shop', 'default', 'application');"
    )
    old.close()
    with Store(path) as store:
        release = store.latest_release(AT)
        assert release is not None
        assert (release.release_key, release.values()) == ("key", {"k": "v"})
        assert store.values(AT) == {"k": "draft"}
        (item,) = store.items(AT)
        assert item.revision == 1
        _, notification = store.publish(AT)
        assert notification.id == 8
        assert not store.desk.view.namespace(by("ann"), AT).is_public


def test_no_name_reads_what_is_kept_for_another_purpose(store: Store) -> None:
    cache = ReadCache(store.database)
    gate, published = AccessGate(cache), Published(cache)
    unsigned = SignedRequest(b"/", "", "")
    # The names of an app and a namespace that a stranger chooses
    published.config(Asker("keys", "default", ip="1.1.1.1"), "shop")
    gate.check("shop", unsigned)
    store.publish(AT, "r", "ann")
    gate.check("shop", unsigned)
    assert published.config(Asker("keys", "default", ip="1.1.1.1"), "shop") is None
