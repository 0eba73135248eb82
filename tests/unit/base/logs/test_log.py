"""One log schema for every process."""

import io
import json
import logging
import sys
import traceback
from collections.abc import Iterator

import pytest

from skep.base.logs import log


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_lines_say_when_who_and_what() -> None:
    out = io.StringIO()
    log.configure("web.0", 3, stream=out)
    with log.bound(task_id="abc", attempt=2):
        logging.getLogger("plugins.orders").warning("sent %d", 7)
    line = json.loads(out.getvalue())
    assert line["ts"].endswith("Z")
    assert line | {"ts": "", "pid": 0} == {
        "ts": "",
        "level": "warning",
        "role": "web",
        "slot": "web.0",
        "generation": 3,
        "pid": 0,
        "logger": "plugins.orders",
        "message": "sent 7",
        "task_id": "abc",
        "attempt": 2,
    }


def test_a_terminal_gets_text_for_people() -> None:
    out = Terminal()
    log.configure("web.0", 3, stream=out)
    logging.getLogger("x").info("hello")
    assert "web.0@3" in out.getvalue()
    assert "hello" in out.getvalue()
    assert "{" not in out.getvalue()


def test_a_newline_in_a_message_cannot_forge_a_line_of_json() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    logging.getLogger("x").info('a\n{"level": "forged"}')
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["message"] == 'a\n{"level": "forged"}'


@pytest.mark.parametrize("evil", ["\n", "\r", "\x85", "\u2028", "\x0b", "\x1e", "\x00"])
def test_no_control_character_ends_a_line_of_json(evil: str) -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    logging.getLogger("x").info(f'a{evil}{{"level": "forged"}}')
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["message"] == f'a{evil}{{"level": "forged"}}'


def test_bound_fields_cannot_pass_for_who_wrote_the_line() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    with log.bound(slot="supervisor", pid=1):
        logging.getLogger("x").info("hello")
    assert json.loads(out.getvalue())["slot"] == "web.0"


def test_text_from_outside_cannot_forge_a_line_of_text_or_move_the_cursor() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out, style="text")
    logging.getLogger("x").info("a\n12:00:00.000 supervisor     stopped\r\x1b[2Jb")
    first, second = out.getvalue().splitlines()
    assert second == "    12:00:00.000 supervisor     stopped\\x0d\\x1b[2Jb"
    assert first.endswith(" a")


def test_what_is_printed_becomes_lines_at_any_level(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    log.configure("web.0", 1, stream=out, level="error", prints=True)
    print("one\ntwo", end="")  # noqa: T201 - this is what is tested
    print(" and more", file=sys.stderr, flush=True)  # noqa: T201
    lines = [json.loads(line)["message"] for line in out.getvalue().splitlines()]
    assert lines == ["one", "two and more"]


def test_secrets_are_masked_in_messages_and_in_tracebacks() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    log.hide({"DB_PASSWORD": "s3cr3t-value"})
    try:
        raise ValueError("with s3cr3t-value inside")
    except ValueError:
        logging.getLogger("x").exception("password=abcdef and s3cr3t-value")
    assert "s3cr3t-value" not in out.getvalue()
    assert "abcdef" not in out.getvalue()
    assert json.loads(out.getvalue())["exception"].startswith("Traceback")


def test_a_secret_with_quotes_is_masked_before_json_escapes_it() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    log.hide({"DB_PASSWORD": 'quo"ted\\value'})
    with log.bound(note="api_key=abc", count=1):
        logging.getLogger("x").info("%s", json.dumps({"mail_pass": "p4ss", "n": 'quo"ted\\value'}))
    line = json.loads(out.getvalue())
    assert line["message"] == '{"mail_pass": ******, "n": "quo\\"ted\\\\value"}'
    assert (line["note"], line["count"]) == ("api_key=******", 1)


def test_the_secrets_of_earlier_environments_stay_masked() -> None:
    log.hide({"DB_PASSWORD": "first-value"})
    log.hide({"DB_PASSWORD": "second-value"})
    assert log.excerpt("first-value second-value", 100) == "****** ******"


def test_an_excerpt_has_both_ends_and_no_half_of_a_secret() -> None:
    log.hide({"DB_PASSWORD": "s3cr3t-value"})
    assert log.excerpt("token=abc", 100) == "token=******"
    for shift in range(20):
        text = f"{'a' * (495 - shift)} s3cr3t-value {'b' * 9000} s3cr3t-value {'c' * (480 + shift)}"
        short = log.excerpt(text, 1000)
        assert len(short) < 1100
        assert short.startswith("aaa")
        assert short.endswith("ccc")
        assert f"… {len(text) - 1000} characters left out …" in short
        assert "s3c" not in short
        assert "value" not in short


@pytest.mark.parametrize("text", ["x", "\n", "token: x ", "ab "])
def test_an_exception_of_megabytes_is_logged_short(text: str) -> None:
    """A13: no part of the way formats or masks all of it; in the whole it takes seconds."""
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    try:
        try:
            raise ValueError(text * (20_000_000 // len(text)))
        except ValueError as error:
            error.add_note(text * (5_000_000 // len(text)))
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        logging.getLogger("x").exception("failed: %s", error.__cause__)
    line = json.loads(out.getvalue())
    assert len(line["message"]) < 40_000
    assert len(line["exception"]) < 40_000
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("RuntimeError: outer")


def test_a_traceback_is_that_of_the_standard_library() -> None:
    def fail() -> None:
        try:
            raise ExceptionGroup("group", [ValueError("one"), KeyError("two")])
        except ExceptionGroup as error:
            error.add_note("a note")
            raise SyntaxError("outer") from error

    with pytest.raises(SyntaxError) as caught:
        fail()
    expected = "".join(traceback.format_exception(caught.value))
    assert log.traceback_text(caught.value, 10_000) == expected


def test_fields_are_bound_for_the_block_only() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    with log.bound(a=1), log.bound(b=2):
        pass
    logging.getLogger("x").info("after")
    assert not {"a", "b"} & json.loads(out.getvalue()).keys()
