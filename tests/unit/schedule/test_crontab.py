"""How a crontab is read. The cases of % and of variables are those of Debian's cron 3.0pl1."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from skep.schedule.crontab import CrontabError, ScheduledCommand, parse


def read(text: str) -> tuple[ScheduledCommand, ...]:
    return parse(text, "jobs.cron", UTC)


def one(text: str) -> ScheduledCommand:
    (found,) = read(text)
    return found


def refusal(text: str) -> str:
    with pytest.raises(CrontabError) as raised:
        read(text)
    return str(raised.value)


def test_comments_and_blank_lines_are_left_out() -> None:
    found = read("# one\n\n  \t# two\n  */5 * * * *\techo  hi \n0 0 1 1 * true")
    assert [(c.line, c.schedule, c.script) for c in found] == [
        (4, "*/5 * * * *", "echo  hi"),
        (5, "0 0 1 1 *", "true"),
    ]


def test_the_fields_are_those_of_cron() -> None:
    command = one("30 2 * * Mon-Fri true")
    assert command.trigger is not None
    friday = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert command.trigger.get_next_fire_time(friday, friday) == datetime(
        2026, 11, 30, 2, 30, tzinfo=UTC
    )


@pytest.mark.parametrize("word", ["@daily", "@hourly", "@yearly", "@midnight"])
def test_words_stand_for_fields(word: str) -> None:
    assert one(f"{word} true").trigger is not None


def test_reboot_has_no_trigger() -> None:
    assert one("@reboot true").trigger is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=1", "1"),
        ("X = 1", "1"),
        ("X=", ""),
        ('X = " a b "', " a b "),
        ("X=' a '", " a "),
        ('"X"=a b  ', "a b"),
        ("X=a=b", "a=b"),
        ("X=$HOME/x", "$HOME/x"),
        ("X=1 # 2", "1 # 2"),
    ],
)
def test_a_variable_is_set_for_the_lines_below(line: str, value: str) -> None:
    first, second, third = read(f"@daily a\n{line}\n@daily b\nX=other\n@daily c")
    assert (first.variables, second.variables, third.variables) == (
        {},
        {"X": value},
        {"X": "other"},
    )


@pytest.mark.parametrize(
    ("text", "script", "given"),
    [
        ("echo", "echo", b""),
        ("cat%one%two", "cat", b"one\ntwo\n"),
        ("cat%", "cat", b""),
        ("cat%one%", "cat", b"one\n"),
        (r"date +\%H", "date +%H", b""),
        (r"echo \n", r"echo \n", b""),
        (r"echo \\%in", r"echo \\", b"in\n"),
        (r"cat%50\% off%now", "cat", b"50% off\nnow\n"),
        (r"cat%a\b", "cat", b"a\\b\n"),
        ("cat%gr\u00fcn", "cat", "gr\u00fcn\n".encode()),
    ],
)
def test_percent_signs_begin_the_input_and_its_lines(text: str, script: str, given: bytes) -> None:
    command = one(f"* * * * * {text}")
    assert (command.script, command.given) == (script, given)


def test_a_zone_holds_for_the_lines_below() -> None:
    zones = [
        command.trigger.zone
        for command in read("@daily a\nCRON_TZ=Asia/Tokyo\n@daily b\nCRON_TZ=\n@daily c")
        if command.trigger
    ]
    assert zones == [UTC, ZoneInfo("Asia/Tokyo"), UTC]


def test_options_hold_for_the_next_command() -> None:
    first, second = read(
        "# platform: name=night timeout=1h overlap=queue misfire=once grace=10m\n"
        "# about it\n@daily a\n@daily b"
    )
    assert first.name == "night"
    terms = first.terms
    assert (terms.timeout, terms.overlap, terms.misfire, terms.grace) == (
        3600,
        "queue",
        "once",
        600,
    )
    terms = second.terms
    assert (terms.timeout, terms.overlap, terms.misfire, terms.grace) == (None, "skip", "skip", 60)


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("/usr/bin/backup --all", "backup"),
        ("TOKEN=s3cret /opt/x/sync.sh", "sync.sh"),
        ("(true)", "command"),
        ("cd /srv && php artisan schedule:run", "cd"),
    ],
)
def test_without_a_name_it_has_that_of_its_program(script: str, name: str) -> None:
    assert one(f"@daily {script}").name == name


def test_names_are_made_different() -> None:
    assert [c.name for c in read("@daily a\n@daily a\n@daily a")] == ["a", "a-2", "a-3"]


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [
        ("60 * * * * true", 1, "minute"),
        ("\n* * * * true", 2, "day of the week"),
        ("* * * * *", 1, "no command follows"),
        ("@daily", 1, "no command follows"),
        ("@fortnightly true", 1, "@fortnightly"),
        ("nonsense", 1, "'nonsense' begins neither"),
        ("0 0 30 2 * true", 1, "never comes"),
        ("CRON_TZ=Mars/Base", 1, "'Mars/Base'"),
        ("CRON_TZ=Europe", 1, "'Europe'"),
        ("SHELL=/bin/none\n@daily true", 1, "/bin/none"),
        ("X='a", 1, "quotes"),
        ("a-b=1", 1, "'a-b'"),
        ("# platform: timeuot=5m\n@daily true", 1, "timeuot"),
        ("# platform: timeout=soon\n@daily true", 1, "soon"),
        ("# platform: overlap=never\n@daily true", 1, "never"),
        ("# platform: name=a/b\n@daily true", 1, "a/b"),
        ("# platform: name=a\n@daily x\n# platform: name=a\n@daily y", 4, "'a' is taken"),
        ("@daily true\n# platform: name=a", 2, "no command follows"),
        ("# platform: name=a\n# platform: timeout=1s\n@daily true", 2, "twice"),
        ("@daily tr\0ue", 1, "NUL"),
    ],
)
def test_a_bad_line_is_named(text: str, number: int, said: str) -> None:
    text = refusal(text)
    assert text.startswith(f"jobs.cron:{number}: ")
    assert said in text


def test_all_bad_lines_are_named() -> None:
    assert [line.split(":")[1] for line in refusal("a\n@daily b\nc").splitlines()] == ["1", "3"]


def test_no_secret_shows_in_the_repr() -> None:
    values: Any = one("DB_PASSWORD=swordfish\n@daily login swordfish%swordfish")
    assert "swordfish" not in repr(values)
