"""A namespace as one text, and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.base.errors import ConfigError
from skep.configserver.display.masked import unmasked
from skep.configserver.display.text_form import (
    fault,
    read_revisions,
    revisions,
    to_drafts,
    to_text,
)
from skep.configserver.model.items import Draft, Item
from skep.pages.refusals import PageRefused

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def item(key: str, value: str, comment: str = "", **more: Any) -> Item:
    fields = {"type": 0, "line": 1, "revision": 3} | more
    return Item(1, key, value, comment, **fields, created_by="a", created_at=0, modified_by="a",
                modified_at=0)  # fmt: skip


@given(st.dictionaries(KEYS.filter(str.strip), VALUES, max_size=5))
def test_a_text_means_the_items_it_was_made_from(values: dict[str, str]) -> None:
    items = [item(key, value) for key, value in values.items()]
    text = to_text("application", items, reveal=True)
    assert to_drafts("application", text, items) == [Draft(k, v) for k, v in values.items()]


@given(st.dictionaries(KEYS.filter(str.strip), VALUES, max_size=5))
def test_a_masked_text_that_is_sent_back_changes_nothing(values: dict[str, str]) -> None:
    items = [item(f"{key}.password", value) for key, value in values.items()]
    text = to_text("application", items, reveal=False)
    drafts = to_drafts("application", text, items)
    assert [(one.key, one.value) for one in drafts] == [(one.key, one.value) for one in items]


def test_comments_types_and_blank_lines_are_kept() -> None:
    items = [
        item("", "", "# why"),
        item("", "", ""),
        item("k", "1", "of a script", type=1),
        item("", "", "no sign"),
    ]
    text = to_text("application", items, reveal=True)
    assert text == "# why\n\nk=1\n# no sign\n"
    drafts = to_drafts("application", text, items)
    assert drafts[0] == Draft("", "", "# why")
    assert drafts[2] == Draft("k", "1", "of a script", 1)


def test_a_fault_names_its_line() -> None:
    assert "line 3" in fault("application", "a=1\n\na=2", [])
    assert "line 1" in fault("application", "=1", [])
    assert "line 2" in fault("menu.json", '{"a":\n}', [])
    assert fault("menu.json", '{"a": 1}', []) == ""
    with pytest.raises(ConfigError):
        to_drafts("menu.yaml", "a: [", [])


def test_a_file_with_a_secret_is_masked_and_edited_only_when_revealed() -> None:
    secret = "db:\n  password: hunter2hunter2\n"
    items = [item("content", secret)]
    masked = to_text("menu.yaml", items, reveal=False)
    assert "hunter2" not in masked
    (kept,) = to_drafts("menu.yaml", masked, items)
    assert kept.value == secret
    with pytest.raises(PageRefused, match="Reveal"):
        to_drafts("menu.yaml", f"{masked}more: 1\n", items)
    (changed,) = to_drafts("menu.yaml", f"{secret}more: 1\n", items)
    assert changed.value == f"{secret}more: 1\n"


def test_a_form_does_not_change_the_ends_of_lines() -> None:
    assert unmasked("application", "k", "a\nb\n", "a\r\nb\r") == "a\r\nb\r"
    assert unmasked("application", "k", "a\nc", "a\r\nb") == "a\nc"
    assert unmasked("application", "k", "a", None) == "a"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"k": "1"}', "1", "[" * 100_000])
def test_revisions_of_a_damaged_form_are_refused(text: str) -> None:
    with pytest.raises(PageRefused):
        read_revisions(text)


def test_revisions_are_those_of_the_keys() -> None:
    assert revisions([item("k", "v"), item("", "", "# c")]) == {"k": 3}
    assert read_revisions('{"k": 3}') == {"k": 3}
