"""One log schema for every process."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from skep.base import log
from skep.base.masking import Masker


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
    log.configure("web.0", 1, stream=out, masker=Masker(["s3cr3t-value"]))
    try:
        raise ValueError("with s3cr3t-value inside")
    except ValueError:
        logging.getLogger("x").exception("password=abcdef and s3cr3t-value")
    assert "s3cr3t-value" not in out.getvalue()
    assert "abcdef" not in out.getvalue()
    assert json.loads(out.getvalue())["exception"].startswith("Traceback")


def test_fields_are_bound_for_the_block_only() -> None:
    out = io.StringIO()
    log.configure("web.0", 1, stream=out)
    with log.bound(a=1), log.bound(b=2):
        pass
    logging.getLogger("x").info("after")
    assert not {"a", "b"} & json.loads(out.getvalue()).keys()
