"""Messages survive the way through a line of JSON."""

from dataclasses import replace

import pytest

from skep.wire.messages import (
    Boot,
    Failed,
    Go,
    LoadFailed,
    Message,
    MetricFrame,
    Planned,
    ProtocolError,
    RolloutAsked,
    decode,
    encode,
)
from skep.wire.plan import Plan, Problem

PROBLEM = Problem("load", "no\nway", plugin="p", file="p.py", line=3, trace="Trace\n")


@pytest.mark.parametrize(
    "message",
    [
        Boot("web.0", "web", 3, "run", {"port": 5200, "namespace": ["a", "b"]}),
        Go(["http"], {"a.b": {"due": 1.5}}, 1),
        Failed(PROBLEM),
        LoadFailed([PROBLEM, PROBLEM], ["VAULT_BADGE"]),
        Planned(
            Plan(kinds=("web", "task"), plugins=("é",), code="abc", secrets=("A",), seconds=0.5)
        ),
        RolloutAsked("code", "x.py", code="abc", problems=[PROBLEM]),
        MetricFrame({"add": [[1, 2.5]]}),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"m":"Nobody"}',
        b'{"m":"Beat"}',
        b'{"m":"Beat","lag":1,"x":2}',
        b"\xff",
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)


def test_a_problem_says_where_it_lies() -> None:
    assert str(PROBLEM) == "plugin p: p.py:3: no\nway"
    assert str(Problem("config", "No.")) == "No."


def test_a_problem_is_masked_and_cut_where_it_is_made_and_where_it_arrives() -> None:
    problem = Problem("load", "token=abc " + "x" * 50_000, trace="y" * 50_000)
    assert problem.message.startswith("token=****** x")
    assert len(problem.message) < 9_000
    assert len(problem.trace) < 17_000
    line = encode(Failed(PROBLEM)).replace(b"Trace", b"password=abc ")
    assert decode(line) == Failed(replace(PROBLEM, trace="password=****** \n"))
