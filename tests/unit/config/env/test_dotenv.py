import io
import re

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from skep.base.errors import ConfigError
from skep.config.env.dotenv import BEGIN, END, hand_written, managed, parse, quote, render

ADVERSARIAL = [
    "",
    " ",
    " padded ",
    "plain",
    "#x",
    "x #y",
    "'",
    '"',
    "it's",
    'say "hi"',
    """both ' and " """,
    "\\",
    "trailing\\",
    "'\\",
    "\\n is not a newline",
    "$HOME",
    "${HOME}",
    "${HOME:-x}",
    "$${A}${",
    "${:-$}{",
    "a\nb",
    "a\r\nb",
    "\r",
    "-----BEGIN KEY-----\nabc=\n-----END KEY-----\n",
    '{"a": "b\'c", "d": 1}',
    "😀",
    "\u00a0x\u00a0",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "\ufeff",
    "\x01\x1b[31m",
    "`id` $(id)",
    "export A=1",
    f"x\n{END}\nEVIL=1\n{BEGIN}\n",
    f"{BEGIN}",
    "# note: x",
]

KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
NASTY = st.text(st.sampled_from("'\"\\${}:-#= \n\r\t\u00a0\u2028ab`"), max_size=20)
VALUES = st.dictionaries(KEYS, st.one_of(TEXTS, NASTY, st.sampled_from(ADVERSARIAL)), max_size=6)
# What people write into such files, all of it readable.
JUNK = st.lists(
    st.sampled_from(
        [
            "",
            "   ",
            "# a comment with 'quotes\" and ${A}",
            "HAND=1",
            "export HAND2 = two  # why not",
            "QUOTED='several\nlines\n# >>> platform managed: do not edit >>>\n'",
            'D="a\\"b"',
            "NAME_ALONE",
            "A.b-c=1",
            "\u00a0# indented by a no-break space",
            "REF=${HAND}-${HOME}",
            "A=hand-written",
            "'single quoted key'=1",
        ]
    ),
    max_size=8,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def read_as_file(text: str, interpolate: bool = True) -> dict[str, str | None]:
    """What python-dotenv makes of a file with this text."""
    translated = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    return dotenv_values(stream=translated, interpolate=interpolate)


@pytest.mark.parametrize("value", ADVERSARIAL)
def test_an_adversarial_value_is_read_back_by_python_dotenv(value: str) -> None:
    text = render("", {"A": value, "Z": "end"})
    assert read_as_file(text) == {"A": value, "Z": "end"}
    assert managed(text) == parse(text) == {"A": value, "Z": "end"}


@given(VALUES, JUNK, ENDS, st.booleans(), st.sampled_from(["", "\ufeff"]))
def test_every_value_and_every_hand_written_byte_survives(
    values: dict[str, str], junk: list[str], end: str, final: bool, bom: str
) -> None:
    """Configuration, case 4."""
    before = bom + end.join(junk) + (end if final else "")
    text = render(before, values, note="K1")
    # Every value, for readers that interpolate and for us
    found = read_as_file(text)
    assert {key: found[key] for key in values} == values
    assert managed(text) == values
    # Every hand-written byte, and its meaning
    assert text.startswith(before)
    assert hand_written(text, {"HOME": "/h"}) == hand_written(before, {"HOME": "/h"})
    # Rendering again changes nothing; rendering nothing leaves what people wrote
    assert render(text, values, note="K1") == text
    assert hand_written(render(text, {}), {}) == hand_written(before, {})


@given(VALUES)
def test_readers_that_do_not_interpolate_see_all_but_the_dollar_brace(
    values: dict[str, str],
) -> None:
    found = read_as_file(render("", values), interpolate=False)
    assert found == {key: value.replace("${", "${:-$}{") for key, value in values.items()}


@given(VALUES)
def test_parsing_agrees_with_python_dotenv(values: dict[str, str]) -> None:
    text = render("X=1\nA=${X}\n", values)
    assert parse(text) == read_as_file(text)


@pytest.mark.parametrize("value", ["plain", "a/b.c:d@e%f+g,h=i-j_1", ""])
def test_a_harmless_value_is_written_bare_for_readers_that_know_no_quotes(value: str) -> None:
    assert quote(value) == value


@pytest.mark.parametrize(("value", "why"), [("s3cret\0", "NUL"), ("s3cret\ud800", "surrogate")])
def test_what_no_environment_can_hold_cannot_be_written(value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"value of A cannot.*{why}") as caught:
        render("", {"A": value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a.b", "1A", "A B", "A=B", "é", "A\n"])
def test_a_key_that_is_no_name_cannot_be_written(key: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{key!r} is not a name")):
        render("", {key: "1"})


def test_the_block_is_sorted_marked_and_noted() -> None:
    assert render("A=1\n", {"Z": "x y", "B": "2"}, note="one\ntwo").splitlines() == [
        "A=1",
        BEGIN,
        '# generated for python-dotenv: do not "source" this file',
        "# note: one two",
        "B=2",
        "Z='x y'",
        END,
    ]


def test_lines_behind_the_block_move_before_it() -> None:
    text = render("A=1\n", {"B": "2"}) + "C=3\n# tail"
    again = render(text, {"B": "9"})
    assert again.startswith("A=1\nC=3\n# tail\n" + BEGIN)
    assert hand_written(again, {}) == {"A": "1", "C": "3"}
    assert managed(again) == {"B": "9"}


def test_a_key_deleted_remotely_is_gone() -> None:
    assert managed(render(render("", {"A": "1", "B": "2"}), {"B": "2"})) == {"B": "2"}


def test_hand_written_lines_refer_to_earlier_ones_and_to_the_base_environment() -> None:
    text = render("HOST=db\nURL=${USER_NAME}@${HOST}/${NONE:-x}/${LATER}\nLATER=1\n", {"NONE": "r"})
    assert hand_written(text, {"USER_NAME": "me", "HOST": "base"}) == {
        "HOST": "db",
        "URL": "me@db/x/",
        "LATER": "1",
    }


def test_a_name_without_a_value_sets_nothing() -> None:
    assert hand_written("A\nB=\n", {}) == {"B": ""}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("A=1\n\nB='open\nC=3\n", 3, "cannot be read"),
        ('A=1\nB="open\n', 2, "cannot be read"),
        ("A=1\nnot a line\n", 2, "cannot be read"),
        ("A=1\r\n=2\r\n", 2, "cannot be read"),
        (f"A=1\n\n{BEGIN}\nB=2\n", 3, "has no end"),
        (f"A=1\n{END}\n", 2, "never begun"),
        (f"{BEGIN}\n{END}\nA=1\n{BEGIN}\n{END}\n", 4, "second managed block"),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", 2, "second managed block"),
        (f"A='open\n{BEGIN}\nB='x'\n{END}\n", 1, "cannot be read"),
        (f"A='open\n{BEGIN}\nB='\n{END}\n", 4, "never begun"),
    ],
)
def test_a_file_that_can_only_be_guessed_at_is_refused_with_its_line(
    text: str, line: int, why: str
) -> None:
    for attempt in (lambda: render(text, {"X": "1"}), lambda: hand_written(text, {})):
        with pytest.raises(ConfigError, match=why) as caught:
            attempt()
        assert re.search(rf"\bline {line}\b", str(caught.value), re.IGNORECASE)
