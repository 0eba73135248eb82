"""What is exported arrives in the programs it is meant for, and is harmless to every shell."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skep.base.errors import ConfigError
from skep.config.env import dotenv
from skep.config.env.export import FORMATS
from skep.config.env.layers import Layers
from tests import readers
from tests.packages import require

Reader = Callable[[Path], dict[str, str | None]]

# Each format and those who read it.
CONSUMERS: list[tuple[str, Reader]] = [
    ("dotenv", readers.python_dotenv),
    ("shell", readers.sourced("bash")),
    ("shell", readers.sourced("dash")),
    ("docker", readers.docker),
    ("systemd", readers.systemd_by_its_rules),
    ("json", readers.json_reader),
    ("k8s", readers.kubernetes),
]
NAMES = ["python-dotenv", "bash", "dash", "docker", "systemd", "json", "k8s"]

AWKWARD = {
    "A_EMPTY": "",
    "A_BLANKS": "  both ends  ",
    "A_SINGLE": "it's",
    "A_DOUBLE": 'say "hi"',
    "A_HASH": "a #no comment",
    "A_DOLLAR": "$HOME costs $5 ${HOME} ${X:-y}",
    "A_DOLLAR_AND_QUOTE": "it's $(touch pwned) and ${HOME}",
    "A_COMMAND": "$(touch pwned)",
    "A_BACKTICK": "`touch pwned`",
    "A_BACKSLASHES": "C:\\new\\table\\$(touch pwned)\\",
    "A_SEMICOLON": "x; touch pwned; y & touch pwned | touch pwned\ttab",
    "A_JSON": '{"key": ["value", null], "n": 1}',
    "A_BEE": "🐝 \u00a0\u2028 \ufeff é",
    "A_CONTROL": "\x1b[31m\x7f\x01",
    "A_EQUALS": "a=b=c",
    "A_MARKER": "# <<< platform managed <<<",
}
LINES = {"B_PEM": "-----BEGIN KEY-----\nMIIB+/=\n-----END KEY-----\n", "B_CRLF": "a\r\nb\rc"}

PIECES = [
    *("'", '"', "\\", "$", "`", "${", "}", "$(touch pwned)", "`touch pwned`", "${:-`touch pwned`}"),
    *("\n", "\r", " ", "\t", "#", "=", ";", "&", "|", "!", "a", "{", "(", ")", "\ntouch pwned\n"),
    *("'; touch pwned; '", '"; touch pwned; "', "\u00a0", "\u2028", "\ufeff", "🐝", "\x1b", "EOF"),
]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)
VALUES = st.dictionaries(st.sampled_from([f"KEY_{n}" for n in range(9)]), TEXTS, max_size=6)
# A temporary directory may well be shared by the examples.
MANY = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def exported(style: str, values: dict[str, str], folder: Path) -> Path:
    path = folder / f"exported.{style}"
    path.write_bytes(FORMATS[style](values).encode())
    return path


@pytest.mark.parametrize(("style", "read"), CONSUMERS, ids=NAMES)
def test_every_value_arrives_in_its_consumer(style: str, read: Reader, tmp_path: Path) -> None:
    """Configuration, case 23."""
    values = dict(AWKWARD) if style == "docker" else AWKWARD | LINES
    found = read(exported(style, values, tmp_path))
    assert {key: found.get(key) for key in values} == values
    assert not (tmp_path / "pwned").exists()


@MANY
@given(values=VALUES)
def test_systemd_itself_reads_what_is_written_for_it(
    values: dict[str, str], tmp_path: Path
) -> None:
    """Configuration, case 23."""
    representable = {key: value for key, value in values.items() if fits("systemd", key, value)}
    path = exported("systemd", representable, tmp_path)
    assert readers.systemd(path) == representable
    assert readers.systemd_by_its_rules(path) == representable


@pytest.mark.parametrize(("style", "read"), CONSUMERS, ids=NAMES)
@MANY
@given(values=VALUES)
def test_any_value_arrives_or_is_refused_by_its_name(
    style: str, read: Reader, values: dict[str, str], tmp_path: Path
) -> None:
    representable = {key: value for key, value in values.items() if fits(style, key, value)}
    found = read(exported(style, representable, tmp_path))
    assert {key: found.get(key) for key in representable} == representable
    if style in ("shell", "json", "k8s"):
        assert representable == values


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("style", FORMATS)
@MANY
@given(values=VALUES)
def test_a_shell_that_sources_any_export_runs_nothing_of_it(
    style: str, shell: str, values: dict[str, str], tmp_path: Path
) -> None:
    """Configuration, case 23."""
    representable = {key: value for key, value in values.items() if fits(style, key, value)}
    path = exported(style, representable, tmp_path)
    subprocess.run(
        [require(shell), "-c", f". {path}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert not (tmp_path / "pwned").exists(), path.read_text()


@pytest.mark.parametrize("style", FORMATS)
def test_a_name_that_a_shell_evaluates_is_no_way_in(style: str, tmp_path: Path) -> None:
    """Configuration, case 23."""
    names = ("RANDOM", "SECONDS", "OPTIND", "BASHPID", "LINENO", "HISTCMD", "PROMPT_COMMAND", "PS4")
    for name in names:
        values = {name: "a[$(touch pwned)]"}
        if not fits(style, *values.popitem()):
            continue
        path = exported(style, {name: "a[$(touch pwned)]"}, tmp_path)
        subprocess.run([require("bash"), "-c", f". {path}; :"], cwd=tmp_path, capture_output=True)
        assert not (tmp_path / "pwned").exists(), name


@MANY
@given(values=VALUES)
def test_any_value_survives_the_file_and_reaches_a_real_child(
    values: dict[str, str], tmp_path: Path
) -> None:
    env = tmp_path / ".env"
    dotenv.write(env, values)
    assert readers.python_dotenv(env) == values
    resolved = Layers.read(env, {}).resolve()
    assert readers.environment_of_a_child(resolved) == values


@pytest.mark.parametrize(
    ("style", "key", "value"),
    [
        ("shell", "UID", "1"),
        ("shell", "a.b", "1"),
        ("dotenv", "KEY", "it's `code`"),
        ("docker", "KEY", "two\nlines"),
        ("docker", "KEY", "cr\r"),
        ("docker", "KEY", "x" * 65536),
        ("docker", "KEY", '"quoted"'),
        ("systemd", "KEY", "\ufdd0"),
        ("json", "KEY", "nul\0"),
        ("k8s", "KEY", "\ud800"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_by_name_and_never_shown(
    style: str, key: str, value: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        FORMATS[style]({"GOOD": "1", key: value, "ZZ_ALSO.BAD": "x"})
    assert key in str(caught.value)
    assert "ZZ_ALSO.BAD" in str(caught.value)
    assert value not in str(caught.value) or value == "1"


def fits(style: str, key: str, value: str) -> bool:
    try:
        FORMATS[style]({key: value})
    except ConfigError:
        return False
    return True
