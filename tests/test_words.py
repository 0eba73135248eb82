"""Words that plain English does without stand in no text.

Read are the docstrings, comments and string literals of the package, and the pages.
"""

import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "platform" / "skep"
GENERATED = {"cli.md", "metrics.md", "settings.md"}

# The word, and what to write instead. Only words that are nearly always wrong.
REFUSED = {
    r"nobody|somebody|whoever|whomever": "name the actor",
    r"meanwhile": "at the same time, until then",
    r"anew": "again",
    r"lest": "so that … not",
    r"seldom": "rarely",
    r"of which|of these(?=\s*[,.;:)])": "two sentences",
    r"to be had": "available",
    r"for want of": "without",
    r"as it stands": "unchanged",
    r"put in force": "apply",
    r"belongs? into": "belong in",
    r"takes root": "requires root",
    r"so long(?! as\b)": "this long",
    r"told(?! apart\b| from\b)|tells? (?:of|what|that|whether|how|whom?)": "notify, report",
    r"hears?|heard": "receive",
    r"(?<!there )(?:is|are) no (?!longer\b|such\b|more\b|less\b|other\b|\w+er\b)\w+": "is not a",
}
PATTERNS = [re.compile(rf"\b(?:{words})\b", re.I) for words in REFUSED]


def prose(path: Path) -> str:
    """The docstrings, comments and strings of a module; what continues is one text."""
    parts: list[str] = []
    last = 0
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            name = tokenize.tok_name[token.type]
            if name in ("NL", "INDENT", "DEDENT", "FSTRING_START", "FSTRING_END"):
                continue
            if name in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
                parts.append(token.string.strip("#\"'"))
                last = token.end[0]
            elif token.end[0] > last:
                parts.append("\n\n")
    return "".join(part if part == "\n\n" else f" {part} " for part in parts)


def page(path: Path) -> str:
    """The text of a page, without code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "¶", path.read_text(), flags=re.S)


def refused(text: str) -> list[str]:
    text = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    return [found[0] for pattern in PATTERNS for found in pattern.finditer(text)]


def texts() -> dict[str, str]:
    modules = {path: prose(path) for path in SOURCE.rglob("*.py")}
    pages = {
        path: page(path)
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
        if path.name not in GENERATED
    }
    return {
        path.relative_to(ROOT).as_posix(): text
        for path, text in sorted({**modules, **pages}.items())
    }


def test_no_text_has_words_that_readers_must_read_twice() -> None:
    found = {name: words for name, text in texts().items() if (words := refused(text))}
    assert found == {}


def test_the_words_are_found_and_what_resembles_them_is_not() -> None:
    for text in ("Whoever asks.", "It is no file.", "The agent is told.", "of\nwhich two"):
        assert refused(text), text
    for text in ("There is no file.", "It is no longer there.", "They are told apart.", "Blest."):
        assert not refused(text), text
