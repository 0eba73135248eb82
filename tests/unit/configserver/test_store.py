import re
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.configserver.model.items import Draft
from skep.configserver.model.limits import EditorLimits
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.storage import schema
from skep.configserver.storage.database import ConfigDatabase
from tests.unit.configserver.store import Store

AT = Address("someApp", "default", "application")


def test_an_item_keeps_its_creator_and_place_when_it_is_changed(store: Store) -> None:
    before = time.time() * 1000 - 1
    for key in ("b", "a"):
        store.put_item(AT, Draft(key, "1", "first", 1), "ann")
    store.put_item(AT, Draft("b", "2", "second"), "bob")
    b, a = store.items(AT)
    assert (b.key, b.value, b.comment, b.type, b.line) == ("b", "2", "second", 0, 1)
    assert (b.created_by, b.modified_by, a.key, a.modified_by) == ("ann", "bob", "a", "ann")
    assert before <= b.created_at <= b.modified_at <= time.time() * 1000


def test_keys_differ_in_case_and_names_do_not(store: Store) -> None:
    store.put_item(AT, Draft("k", "1"), "ann")
    store.put_item(Address("SOMEAPP", "DEFAULT", "APPLICATION"), Draft("K", "2"), "ann")
    assert [item.key for item in store.items(AT)] == ["k", "K"]
    assert store.find(Address("someapp", "Default", "Application")) == AT


def test_a_namespace_is_spelled_alike_in_all_clusters_of_an_app(store: Store) -> None:
    store.put_item(AT, Draft("k", "1"), "ann")
    release, _ = store.publish(Address("SomeApp", "Other", "APPLICATION"), "t", "ann")
    assert release.address == Address("someApp", "Other", "application")
    other_app, _ = store.publish(Address("another", "default", "APPLICATION"), "t", "ann")
    assert other_app.address.namespace == "APPLICATION"


def test_creating_and_updating_say_what_is_in_the_way(store: Store) -> None:
    with pytest.raises(NotFound, match=r"no key 'k' in someApp\+default\+application"):
        store.put_item(AT, Draft("k", "1"), "ann", "update")
    assert store.find(AT) is None, "a refused write leaves nothing behind"
    store.put_item(AT, Draft("k", "1"), "ann", "create")
    with pytest.raises(InvalidRequest, match="already"):
        store.put_item(AT, Draft("k", "2"), "ann", "create")
    assert [item.value for item in store.items(AT)] == ["1"]


def test_deleting_names_what_is_missing(store: Store) -> None:
    with pytest.raises(NotFound):
        store.delete_item(AT, "k")
    store.introduce(AT, [Draft("", "", "# a comment"), Draft("k", "1")], "t", "ann")
    with pytest.raises(NotFound):
        store.delete_item(AT, "")
    store.delete_item(AT, "k")
    assert [item.comment for item in store.items(AT)] == ["# a comment"]


def test_keys_and_values_have_a_longest(store: Store) -> None:
    store.put_item(AT, Draft("k" * 128, "v" * 20_000), "ann")
    with pytest.raises(InvalidRequest, match="129 characters; 128 are allowed"):
        store.put_item(AT, Draft("k" * 129, "v"), "ann")
    with pytest.raises(InvalidRequest, match="20001 characters; 20000 are allowed") as refusal:
        store.put_item(AT, Draft("k", "v" * 20_001), "ann")
    assert "vvv" not in str(refusal.value), "a value may be a secret"


def test_the_limits_can_be_others(tmp_path: Path) -> None:
    with Store(tmp_path / "config.db", EditorLimits(key=1, value=2)) as store:
        store.put_item(AT, Draft("k", "vv"), "ann")
        with pytest.raises(InvalidRequest):
            store.put_item(AT, Draft("k", "vvv"), "ann")


def test_a_release_keeps_what_the_items_were(store: Store) -> None:
    store.introduce(AT, [Draft("z", "1"), Draft("", "", "# no"), Draft("a", "2")], "one", "ann")
    first = store.latest_release(AT)
    assert first is not None
    store.put_item(AT, Draft("z", "changed"), "bob")
    assert store.latest_release(AT) == first
    assert list(first.values().items()) == [("z", "1"), ("a", "2")]
    second, _ = store.publish(AT, "two", "bob", "because")
    assert store.latest_release(AT) == second
    assert (second.name, second.comment, second.released_by) == ("two", "because", "bob")
    assert second.values() == {"z": "changed", "a": "2"}


def test_a_release_key_tells_its_time_and_differs(store: Store) -> None:
    keys = {store.publish(AT, "t", "ann")[0].release_key for _ in range(20)}
    assert len(keys) == 20
    assert all(re.fullmatch(r"20\d{12}-[0-9a-f]{16}", key) for key in keys)


def test_a_release_cannot_be_changed_but_abandoned(store: Store, tmp_path: Path) -> None:
    first, _ = store.publish(AT, "one", "ann")
    second, _ = store.publish(AT, "two", "ann")
    other = sqlite3.connect(tmp_path / "config.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        other.execute("UPDATE release SET configurations = '{}'")
    other.execute("UPDATE release SET is_abandoned = 1 WHERE id = ?", (second.id,))
    other.close()
    assert store.latest_release(AT) == first


def test_ids_of_notifications_rise_over_all_apps_and_restarts(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        with Store(tmp_path / "config.db") as store:
            for app in ("one", "two", "one"):
                ids.append(store.publish(AT._replace(app_id=app), "t", "ann")[1].id)
    assert ids == sorted(set(ids))


def test_an_id_is_not_used_again_even_when_its_row_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "config.db"
    with Store(path) as store:
        first = store.publish(AT, "t", "ann")[1].id
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM notification")
    db.close()
    with Store(path) as store:
        assert store.publish(AT, "t", "ann")[1].id > first


def test_only_the_latest_notification_of_an_address_is_kept(store: Store) -> None:
    store.publish(AT, "t", "ann")
    dc = AT._replace(cluster="dc")
    expected = [store.publish(at, "t", "ann")[1] for at in (AT, dc)]
    store.publish(AT._replace(cluster="else"), "t", "ann")
    found = store.notifications("SOMEAPP", ["DEFAULT", "dc"], ["APPLICATION", "nope"])
    assert sorted(found, key=lambda one: one.id) == expected


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    with Store(tmp_path / "config.db") as store:
        store.put_item(AT, Draft("k", "1"), "ann")
        release, notification = store.publish(AT, "t", "ann")
        store.put_item(AT, Draft("k", "2"), "ann")
        items = store.items(AT)
    with Store(tmp_path / "config.db") as store:
        assert store.latest_release(AT) == release
        assert store.notifications(AT.app_id, [AT.cluster], [AT.namespace]) == [notification]
        assert store.items(AT) == items


def test_introducing_is_done_once(store: Store) -> None:
    assert store.introduce(AT, [Draft("k", "1")], "t", "ann")
    assert not store.introduce(AT._replace(namespace="APPLICATION"), [Draft("k", "2")], "t", "ann")
    assert [item.value for item in store.items(AT)] == ["1"]


def test_introducing_is_all_or_nothing(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.introduce(AT, [Draft("k", "1"), Draft("k", "2")], "t", "ann")
    assert store.find(AT) is None


def test_an_empty_release_is_made_only_where_there_is_none(store: Store) -> None:
    store.put_item(AT, Draft("k", "secret draft"), "ann")
    assert store.ensure_release(AT, "t", "ann")
    release = store.latest_release(AT)
    assert release is not None
    assert release.values() == {}
    assert not store.ensure_release(AT, "t", "ann")
    assert store.latest_release(AT) == release


def test_writers_of_several_threads_take_turns(store: Store) -> None:
    def publish(writer: int) -> None:
        for n in range(25):
            store.put_item(AT, Draft(f"k{writer}", str(n)), "ann")
            store.publish(AT, "t", "ann")

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    release = store.latest_release(AT)
    assert release is not None
    assert release.values() == {f"k{n}": "24" for n in range(4)}
    assert [one.id for one in store.announced] == list(range(1, 101))


def test_reading_does_not_wait_for_a_writer(store: Store, tmp_path: Path) -> None:
    store.publish(AT, "t", "ann")
    other = sqlite3.connect(tmp_path / "config.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.latest_release(AT) is not None
    other.execute("ROLLBACK")
    other.close()


def test_the_file_is_its_owner_s_and_safe_from_power_loss(tmp_path: Path) -> None:
    path = tmp_path / "config.db"
    with Store(path) as store:
        store.publish(AT, "t", "ann")
        for name in ("config.db", "config.db-wal"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    writer = schema.open_writer(path)
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    found = [writer.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    writer.close()
    assert found == ["wal", 2, 1]


def test_the_queries_of_a_poll_and_a_pull_use_indexes(store: Store, tmp_path: Path) -> None:
    store.publish(AT, "t", "ann")
    statements: list[str] = []
    with sqlite3.connect(tmp_path / "config.db", isolation_level=None) as db:
        store.database.reader.set_trace_callback(statements.append)
        store.latest_release(AT)
        store.notifications("someApp", ["default", "dc"], ["application", "other"])
        plans = [
            str(row[3])
            for statement in statements
            for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
    db.close()
    assert len(statements) == 2
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN")] == []


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)


def truncated(path: Path) -> None:
    with Store(path) as store:
        store.introduce(AT, [Draft(f"k{n}", "v" * 1000) for n in range(100)], "t", "ann")
    path.write_bytes(path.read_bytes()[:8192])


def scrambled(path: Path) -> None:
    with Store(path.with_name("whole.db")) as store:
        store.introduce(AT, [Draft("k", "v")], "t", "ann")
    data = bytearray(path.with_name("whole.db").read_bytes())
    data[4 * 4096 : 8 * 4096] = b"x" * 4 * 4096
    path.write_bytes(data)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()


def from_the_future(path: Path) -> None:
    with Store(path):
        pass
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def a_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "spoil", [garbage, truncated, scrambled, foreign, from_the_future, a_directory]
)
def test_a_file_that_cannot_be_used_is_named_and_left_alone(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "config.db"
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ConfigError, match=r"config\.db .*[.]$"):
        ConfigDatabase(path).open()
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        ConfigDatabase(tmp_path / "nowhere" / "config.db").open()
