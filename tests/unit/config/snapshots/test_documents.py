"""Documents become keys, and every scalar stays the text that was published."""

import pytest

from skep.config.errors import Unusable
from skep.config.snapshots.documents import flattened
from skep.config.snapshots.snapshot import Release


def keys(namespace: str, text: str) -> dict[str, str]:
    release = Release("orders", "default", namespace, "K1", {"content": text})
    return dict(flattened(release).configurations)


JSON = '{"db": {"hosts": ["a", "b"], "port": 5432, "tls": true, "user": null}, "empty": {}}'
YAML = "db:\n  hosts: [a, b]\n  port: 5432\n  tls: true\n  user: null\nempty: {}\n"


@pytest.mark.parametrize(
    ("namespace", "text"), [("x.json", JSON), ("x.yaml", YAML), ("X.YML", YAML), ("x.Json", JSON)]
)
def test_a_document_becomes_keys(namespace: str, text: str) -> None:
    assert keys(namespace, text) == {
        "db.hosts[0]": "a",
        "db.hosts[1]": "b",
        "db.port": "5432",
        "db.tls": "true",
        "db.user": "",
        "empty": "",
    }


def test_the_names_in_the_environment_follow_from_the_keys() -> None:
    release = Release("orders", "default", "x.json", "K1", {"content": JSON})
    assert flattened(release).values()["db_hosts_0_"] == "a"


@pytest.mark.parametrize("namespace", ["banner.txt", "beans.XML", "application", "json"])
def test_any_other_namespace_is_left_as_it_is(namespace: str) -> None:
    assert keys(namespace, "{not: [json") == {"content": "{not: [json"}


SCALARS = ["1.0", "yes", "No", "0123", "1_000", "0x1F", "1e3", "2001-12-14", "12:30:45", ".inf"]


@pytest.mark.parametrize("text", [*SCALARS, "on", "TRUE", "=", "über", "a b"])
def test_yaml_does_not_change_what_a_scalar_looks_like(text: str) -> None:
    assert keys("x.yaml", f"a: {text}\n") == {"a": text}


@pytest.mark.parametrize("text", ["1.0", "1e3", "-0", "123456789012345678901234567890", "0.10"])
def test_json_does_not_change_what_a_number_looks_like(text: str) -> None:
    assert keys("x.json", f'{{"a": {text}}}') == {"a": text}


@pytest.mark.parametrize("null", ["", "~", "null", "Null"])
def test_a_yaml_null_is_empty_and_the_same_word_in_quotes_is_not(null: str) -> None:
    assert keys("x.yaml", f"a: {null}\nb: '{null}'\n") == {"a": "", "b": null}


def test_yaml_text_may_have_lines_quotes_and_any_key() -> None:
    text = "a: |\n  one\n  two\n'b c': \"x\\ty\"\n3: z\ntrue: t\n"
    assert keys("x.yml", text) == {"a": "one\ntwo\n", "b c": "x\ty", "3": "z", "true": "t"}


def test_anchors_and_merges_are_what_yaml_says() -> None:
    text = (
        "base: &base {x: 1, y: 2}\n"
        "other: &other {y: 3, z: 4}\n"
        "one:\n  <<: *base\n  y: 9\n"
        "two:\n  <<: [*base, *other]\n"
        "same: *base\n"
    )
    found = keys("x.yaml", text)
    assert {k: v for k, v in found.items() if k[:3] in ("one", "two", "sam")} == {
        "one.x": "1",
        "one.y": "9",
        "two.x": "1",
        "two.y": "2",
        "two.z": "4",
        "same.x": "1",
        "same.y": "2",
    }


def test_of_several_yaml_documents_a_later_one_overrides() -> None:
    assert keys("x.yaml", "a: 1\nb: 1\n---\nb: 2\n") == {"a": "1", "b": "2"}


@pytest.mark.parametrize("namespace", ["x.yaml", "x.json"])
@pytest.mark.parametrize("text", ["", " \n", "{}", "[]"])
def test_an_empty_document_has_no_keys(namespace: str, text: str) -> None:
    assert keys(namespace, text) == {}


@pytest.mark.parametrize("namespace", ["x.yaml", "x.json"])
def test_a_list_is_counted(namespace: str) -> None:
    assert keys(namespace, '[{"a": "1"}, "b"]') == {"[0].a": "1", "[1]": "b"}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]\n"
    for below, name in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("namespace", "text", "says"),
    [
        ("x.json", '{\n"a": s3cret}', "line 2 of namespace x.json"),
        ("x.json", '{"a": 1, "a": 2}', "'a' is in one object twice"),
        ("x.json", '{"a": NaN}', "NaN is not JSON"),
        ("x.json", '"s3cret"', "neither an object nor a list"),
        ("x.json", "5", "neither an object nor a list"),
        ("x.json", '{"a":' * 100_000, "nested too deeply"),
        ("x.yaml", "a: 1\nb: [s3cret\n", "line 3 of namespace x.yaml"),
        ("x.yaml", "a: 1\n\tb: s3cret\n", "line 2 of namespace x.yaml"),
        ("x.yaml", "a: 1\nb: 2\na: 3\n", "line 3 of namespace x.yaml"),
        ("x.yaml", "just s3cret\n", "neither a mapping nor a list"),
        ("x.yaml", "a: *nowhere\n", "line 1 of namespace x.yaml"),
        ("x.yaml", "? [a, b]\n: 1\n", "a key is not a text"),
        ("x.yaml", "a: 1\n<<: [1]\n", "only mappings can be merged"),
        ("x.yaml", "\n!!python/object/apply:os.system ['true']\n", "line 2 of namespace x.yaml"),
        ("x.yaml", "a: !vault s3cret\n", "the tag '!vault' is unknown"),
        ("x.yaml", "a: &a [*a]\n", "unfolds without end"),
        ("x.yaml", BOMB, "unfolds without end"),
        ("x.yaml", "a: \x01\n", "namespace x.yaml"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_its_place(
    namespace: str, text: str, says: str
) -> None:
    """F44."""
    with pytest.raises(Unusable) as caught:
        keys(namespace, text)
    assert says in str(caught.value)
    assert namespace in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("namespace", "text"),
    [("x.yaml", "a.b: 1\na: {b: 2}\n"), ("x.json", '{"a.b": "1", "a": {"b": "2"}}')],
)
def test_two_ways_to_one_key_are_refused(namespace: str, text: str) -> None:
    with pytest.raises(Unusable, match=r"'a\.b'") as caught:
        keys(namespace, text)
    assert caught.value.reason == "collision"


def test_two_keys_that_come_to_one_name_are_refused_by_name() -> None:
    release = Release("orders", "default", "x.yaml", "K1", {"content": "a.b: 1\na-b: 2\n"})
    with pytest.raises(Unusable, match=r"'a\.b' and 'a-b' of namespace x\.yaml"):
        flattened(release).values()
