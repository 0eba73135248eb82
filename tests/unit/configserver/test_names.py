import pytest

from skep.configserver.model.limits import check_address
from skep.configserver.model.names import Address, bare, fallback, file_format, fold, is_legal
from skep.configserver.model.refusals import InvalidRequest


@pytest.mark.parametrize(
    ("cluster", "data_center", "clusters"),
    [
        ("default", "", ["default"]),
        ("A", "", ["A", "default"]),
        ("A", "dc", ["A", "dc", "default"]),
        ("A", "a", ["a", "default"]),
        ("default", "dc", ["dc", "default"]),
        ("DEFAULT", "Default", ["default"]),
    ],
)
def test_the_clusters_are_asked_in_order_and_each_once(
    cluster: str, data_center: str, clusters: list[str]
) -> None:
    assert fallback(cluster, data_center) == clusters


def test_the_suffix_properties_is_cut_off_once_and_in_any_case() -> None:
    assert bare("a.PROPERTIES") == "a"
    assert bare("a.properties.properties") == "a.properties"
    assert bare("properties") == "properties"


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [("a", "properties"), ("a.b", "properties"), ("a.json", "json"), ("a.YML", "yml")],
)
def test_a_name_tells_its_format(namespace: str, expected: str) -> None:
    assert file_format(namespace) == expected
    assert file_format("json") == "properties"


def test_case_is_folded_for_ascii_alone_as_in_the_store() -> None:
    assert fold("ABC-Ä") == "abc-Ä"
    assert Address("A", "B", "C").fold() == Address("a", "b", "c")


@pytest.mark.parametrize("name", ["", ".a", "a b", "ä", "a/b", "a\n", "a+b", "a'"])
def test_a_name_that_is_none_is_refused_and_named(name: str) -> None:
    assert not is_legal(name)
    for address in (Address(name, "c", "n"), Address("a", name, "n"), Address("a", "c", name)):
        with pytest.raises(InvalidRequest, match="is not a name"):
            check_address(address)


def test_names_longer_than_apollo_takes_are_refused() -> None:
    check_address(Address("a" * 64, "c" * 32, "n" * 32))
    with pytest.raises(InvalidRequest, match=r"app id .* 65 characters"):
        check_address(Address("a" * 65, "c", "n"))
    with pytest.raises(InvalidRequest, match=r"namespace .* 33 characters"):
        check_address(Address("a", "c", "n" * 33))


def test_a_namespace_no_client_could_ask_for_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="properties"):
        check_address(Address("a", "c", "n.properties"))
