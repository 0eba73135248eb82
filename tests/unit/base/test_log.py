"""One log schema for every process."""

import io
import json
import logging
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
