from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.releases import StoredRelease
from skep.configserver.seed import seed
from tests.unit.configserver.store import Store

AT = Address("app", "default", "application")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "samples" / "app" / "default"
    folder.mkdir(parents=True)
    return folder


def sow(store: Store, folder: Path, *namespaces: str, cluster: str = "default") -> list[Address]:
    return seed(store.database, folder.parent.parent, "app", cluster, namespaces)


def released(store: Store, address: Address) -> StoredRelease:
    release = store.latest_release(address)
    assert release is not None
    return release


def test_samples_of_all_formats_and_places_are_published(store: Store, folder: Path) -> None:
    (folder / "application.properties").write_text("# a comment\nk=v\nk2 : \\u4e2d\nk=last\n")
    (folder / "feature.flags.PROPERTIES").write_text("x=1")
    (folder / "rules.json").write_bytes(b'{"a":\r\n 1}')
    (folder / "empty.yaml").write_text("")
    other = folder.parent.parent / "other" / "prod"
    other.mkdir(parents=True)
    (other / "notes.txt").write_bytes(b"\xef\xbb\xbfhello\n")
    published = sow(store, folder)
    assert sorted(map(str, published)) == [
        "app+default+application",
        "app+default+empty.yaml",
        "app+default+feature.flags",
        "app+default+rules.json",
        "other+prod+notes.txt",
    ]
    assert released(store, AT).values() == {"k": "last", "k2": "中"}
    assert [item.comment for item in store.items(AT)] == ["# a comment", "", ""]
    content = {str(at): released(store, at).values() for at in published if at != AT}
    assert content == {
        "app+default+empty.yaml": {"content": ""},
        "app+default+feature.flags": {"x": "1"},
        "app+default+rules.json": {"content": '{"a":\r\n 1}'},
        "other+prod+notes.txt": {"content": "hello\n"},
    }


def test_a_second_start_changes_nothing_not_even_for_an_edited_sample(
    store: Store, folder: Path
) -> None:
    # Given a sample that was published, and edited by somebody through the server
    (folder / "application.properties").write_text("k=v")
    sow(store, folder, "application", "other")
    store.put_item(AT, Draft("k", "edited"), "ann")
    release, _ = store.publish(AT, "t", "ann")
    # When the file changes, even to one that cannot be read, and the server starts again
    (folder / "application.properties").write_text("k=\\u")
    assert sow(store, folder, "application", "other") == []
    # Then nothing has
    assert released(store, AT) == release


def test_a_namespace_asked_for_is_there_even_without_samples(store: Store, folder: Path) -> None:
    published = seed(
        store.database, folder / "nowhere", "app", "default", ["application", "b.properties"]
    )
    assert published == [AT, AT._replace(namespace="b")]
    assert released(store, AT).values() == {}


def test_an_empty_release_never_hides_the_default_cluster(store: Store, folder: Path) -> None:
    (folder / "application.properties").write_text("k=v")
    published = sow(store, folder, "application", "other", cluster="prod")
    assert published == [AT, AT._replace(namespace="other")]
    assert store.latest_release(AT._replace(cluster="prod")) is None


def test_drafts_are_not_published_by_asking(store: Store, folder: Path) -> None:
    store.put_item(AT, Draft("k", "draft"), "ann")
    assert sow(store, folder, "application") == [AT]
    assert released(store, AT).values() == {}
    assert [item.value for item in store.items(AT)] == ["draft"]


def test_what_is_no_sample_is_left_alone(store: Store, folder: Path) -> None:
    for name in (".DS_Store", "application.properties~", ".application.properties.swp"):
        (folder / name).write_text("k=v")
    (folder / "a folder.json").mkdir()
    (folder.parent.parent / ".env.example").write_text("X=1")
    (folder.parent.parent / ".git" / "x").mkdir(parents=True)
    (folder.parent / "README.md").write_text("about")
    assert sow(store, folder) == []


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.properties", b"x=1\ny=\\u12", r"a\.properties, line 2: a \\u escape"),
        ("a.properties", b"x=1\n\ny=\xff", r"a\.properties, line 3: this is not UTF-8"),
        ("a.properties", b"x=1\n=2", r"a\.properties, line 2: An item needs a key"),
        ("a.properties", b"x=" + b"v" * 20_001, r"a\.properties, line 1: .*20001 characters"),
        ("a.properties", b"k" * 129, r"a\.properties, line 1: .*129 characters"),
        ("a.json", b'{"a":\n1,}', r"a\.json, line 2: "),
        ("a.yaml", b"a: 1\nb: [\n", r"default/a\.yaml, line 3: this is not yaml"),
        ("a.yml", b"a: " + b"v" * 20_000, r"a\.yml: .*20003 characters"),
        ("a.ini", b"", r"a\.ini is not a sample .*\.properties"),
        ("application", b"", r"application is not a sample"),
        ("a b.json", b"", r"a b\.json: .*is not a name"),
        ("a.properties.properties", b"", r"a\.properties\.properties: "),
        (".properties", b"", None),
    ],
)
def test_a_sample_that_cannot_be_used_is_named_with_its_line(
    store: Store, folder: Path, name: str, content: bytes, complaint: str | None
) -> None:
    (folder / name).write_bytes(content)
    if complaint is None:
        assert sow(store, folder) == []
        return
    with pytest.raises(ConfigError, match=complaint):
        sow(store, folder)


def test_a_folder_that_names_no_app_is_named(store: Store, folder: Path) -> None:
    other = folder.parent.parent / "my app" / "default"
    other.mkdir(parents=True)
    (other / "a.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"my app/default/a\.json: The app id 'my app'"):
        sow(store, folder)
