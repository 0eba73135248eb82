"""What the agent exports of the operations that the supervisor writes down."""

import json
from pathlib import Path

from skep.agent.rollout_spans import OperationReader


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(line + "\n" for line in lines)


def entry(number: int) -> str:
    return json.dumps({"id": number, "what": "config"})


def ids(reader: OperationReader) -> list[int]:
    return [operation["id"] for operation in reader.new()]


def test_what_was_there_before_is_left_out_and_each_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "operations.jsonl"
    write(path, entry(1), entry(2))
    reader = OperationReader(path)
    assert ids(reader) == []
    write(path, entry(3), entry(4))
    assert ids(reader) == [3, 4]
    assert ids(reader) == []
    path.write_text(entry(4) + "\n" + entry(5) + "\n")
    assert ids(reader) == [5]


def test_a_line_that_is_not_whole_is_read_later(tmp_path: Path) -> None:
    path = tmp_path / "operations.jsonl"
    reader = OperationReader(path)
    assert ids(reader) == []
    path.write_text(entry(1) + "\n" + entry(2)[:5])
    assert ids(reader) == [1]
    path.write_text(entry(1) + "\n" + entry(2) + "\n7\n")
    assert ids(reader) == [2]
