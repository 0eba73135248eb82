"""The rules of java.util.Properties.load(Reader), one by one, and a round trip over them all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.base.errors import ConfigError
from skep.configserver.model.properties import Comment, Pair, parse, render


def pairs(text: str) -> dict[str, str]:
    return {one.key: one.value for one in parse(text, "x") if isinstance(one, Pair)}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("k=v", "k", "v"),
        ("k:v", "k", "v"),
        ("k v", "k", "v"),
        ("k\tv", "k", "v"),
        ("k\fv", "k", "v"),
        ("  \t k = v", "k", "v"),
        ("k =v", "k", "v"),
        ("k: = v", "k", "= v"),
        ("k  :  v", "k", "v"),
        ("k==v", "k", "=v"),
        ("k", "k", ""),
        ("k=", "k", ""),
        ("k ", "k", ""),
        ("=v", "", "v"),
        ("k=v  ", "k", "v  "),
        ("k=a=b:c d#e!f", "k", "a=b:c d#e!f"),
        (r"a\=b\:c\ d=v", "a=b:c d", "v"),
        (r"a\#\!=v", "a#!", "v"),
        (r"\#k=v", "#k", "v"),
        (r"k=\ v", "k", " v"),
        (r"k=\t\n\r\f\\", "k", "\t\n\r\f\\"),
        (r"k=\q\"\'\0", "k", "q\"'0"),
        (r"\u006b=\u4e2d\u003D", "k", "中="),
        (r"k=\ud83d\udc1d", "k", "🐝"),
        (r"k=\\u0041", "k", r"\u0041"),
        (r"k=\u00411", "k", "A1"),
        ("ключ=🐝", "ключ", "🐝"),
        ("k=a\x0bb\x1cc\u2028d\x85e", "k", "a\x0bb\x1cc\u2028d\x85e"),
        ("k=v\n", "k", "v"),
    ],
)
def test_a_line_is_split_at_its_first_plain_separator(text: str, key: str, value: str) -> None:
    assert pairs(text) == {key: value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k=a\\\nb", {"k": "ab"}),
        ("k=a\\\n  \t b", {"k": "ab"}),
        ("k=a\\\r\n b\\\r c", {"k": "abc"}),
        ("k=a\\\n#b", {"k": "a#b"}),
        ("k=a\\\n\nl=b", {"k": "a", "l": "b"}),
        ("k=a\\\\\nl=b", {"k": "a\\", "l": "b"}),
        ("k=a\\\\\\\nb", {"k": "a\\b"}),
        ("k=a\\", {"k": "a"}),
        ("k=a\\\n", {"k": "a"}),
        ("a\\\n b\\\n = c", {"ab": "c"}),
        ("# no \\\nk=v", {"k": "v"}),
        ("\\\nk=v", {"k": "v"}),
    ],
)
def test_a_line_that_ends_in_an_odd_backslash_goes_on(text: str, expected: dict[str, str]) -> None:
    assert pairs(text) == expected


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_comments_and_blank_lines_are_kept_in_place(end: str) -> None:
    lines = ["# one", "  ! two=2", " \t", "k=v", "", "l=w"]
    assert parse(end.join(lines) + end, "x") == [
        Comment("# one", 1),
        Comment("! two=2", 2),
        Comment("", 3),
        Pair("k", "v", 4),
        Comment("", 5),
        Pair("l", "w", 6),
    ]


def test_an_empty_file_says_nothing() -> None:
    assert parse("", "x") == []


def test_a_pair_is_numbered_by_its_first_line() -> None:
    assert parse("a=1\\\n 2\nb=3", "x") == [Pair("a", "12", 1), Pair("b", "3", 3)]


@pytest.mark.parametrize(
    "broken", [r"\u12", r"\u", r"\u12g4", r"\uuuu", r"\ud83d", r"\udc1d\ud83d"]
)
@pytest.mark.parametrize("line", ["k={}", "{}=v", "a=b\\\n{}"])
def test_a_broken_escape_names_file_and_line(line: str, broken: str) -> None:
    with pytest.raises(ConfigError, match=r"^some\.properties, line 2: .*escape"):
        parse("# first\n" + line.format(broken), "some.properties")


# A writer of our own: every character in one of the ways Java allows, lines broken anywhere.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
separators = st.sampled_from(["=", ":", " ", "\t", " = ", "\f:", "  "])
ends = st.sampled_from(["\n", "\r", "\r\n"])
NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f", "\\": "\\\\"}


def spelled(draw: st.DrawFn, text: str) -> str:
    """Spell each character in one of its ways, and break the line between some."""
    breaks = st.sampled_from(["\\\n", "\\\r  ", "\\\r\n\t\f ", *[""] * 9])
    return "".join((draw(breaks) if n else "") + spell(draw, c) for n, c in enumerate(text))


def spell(draw: st.DrawFn, character: str) -> str:
    hexadecimal = "".join(
        f"\\u{unit:04x}" for unit in memoryview(character.encode("utf-16-le")).cast("H")
    )
    ways = [hexadecimal, hexadecimal.upper().replace("\\U", "\\u")]
    if character in NAMED:
        ways.append(NAMED[character])
    elif character in " =:#!":
        ways.append("\\" + character)
    else:
        ways.append(character)
    return draw(st.sampled_from(ways))


@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, str], str]:
    values = draw(st.dictionaries(texts, texts, max_size=5))
    text = ""
    for key, value in values.items():
        text += draw(st.sampled_from(["", "# comment\n", "\n", " \t\r\n", "!\\\n"]))
        # Only `=` and `:` can end a key that is empty.
        separator = draw(separators) if key else "="
        text += spelled(draw, key) + separator + spelled(draw, value) + draw(ends)
    return values, text


@given(files())
def test_what_was_written_by_the_rules_is_read(file: tuple[dict[str, str], str]) -> None:
    values, text = file
    assert pairs(text) == values


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    lines, complaint = [1], "x, line 1"
    try:
        lines = [entry.line for entry in parse(text, "x")]
    except ConfigError as error:
        complaint = str(error)
    assert lines == sorted(set(lines))
    assert complaint.startswith("x, line ")


def test_what_is_written_is_what_java_writes() -> None:
    values = {"a b": " c d ", "k=:#!": "v=:#!", "t\t\n\r\f": "\\", "ä": "中🐝", "e": ""}
    assert render(values) == (
        "a\\ b=\\ c d \nk\\=\\:\\#\\!=v\\=\\:\\#\\!\nt\\t\\n\\r\\f=\\\\\nä=中🐝\ne=\n"
    )


@given(st.dictionaries(st.text(), st.text()))
def test_what_is_written_is_read_back(values: dict[str, str]) -> None:
    assert pairs(render(values)) == values
