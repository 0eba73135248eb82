import pytest

from skep.configserver.model.formats import check_content
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest
from tests.unit.configserver.store import Store


@pytest.mark.parametrize(
    ("namespace", "text", "complaint"),
    [
        ("a.json", '{"a": 1}', None),
        ("a.json", "", None),
        ("a.json", '{"a":\n1,}', r"a\.json, line 2: this is not json: "),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.JSON", "x", "line 1"),
        ("a.yml", "a: 1\n---\nb: [2]\n", None),
        ("a.yaml", "a: 1\nb: [1\nc: 2\n", r"a\.yaml, line 3: this is not yaml: "),
        ("a.yaml", "a: &x [1]\nb: [*x, *x]\n", None),
        ("a.yml", "a: \x00", "line 1"),
        ("a.xml", "<a>ä</a>", None),
        ("a.xml", "<a>\n<b></a>", r"a\.xml, line 2: this is not xml: mismatched tag"),
        ("a.txt", "{", None),
        ("application", "{", None),
    ],
)
def test_a_text_is_of_its_format(namespace: str, text: str, complaint: str | None) -> None:
    if complaint is None:
        check_content(namespace, "content", text)
    else:
        with pytest.raises(InvalidRequest, match=complaint):
            check_content(namespace, "content", text)


def test_entities_do_not_grow_without_bounds() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><a>&e11;</a>'
    with pytest.raises(InvalidRequest, match=r"amplification|limit"):
        check_content("a.xml", "content", text)


def test_a_text_that_is_not_of_its_format_is_not_saved(store: Store) -> None:
    at = Address("app", "default", "rules.json")
    with pytest.raises(InvalidRequest, match="not json"):
        store.put_item(at, Draft("content", "{"), "ann")
    assert store.find(at) is None


def test_numbers_of_any_length_are_json() -> None:
    check_content("a.json", "content", "9" * 5000)
