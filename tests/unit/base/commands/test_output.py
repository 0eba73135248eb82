from skep.base.commands.output import LineBudget, LineCutter


def test_lines_are_cut_wherever_the_parts_end() -> None:
    cutter = LineCutter()
    parts = [b"on", b"e\ntwo\r\n\nthr", b"ee"]
    assert [cutter.feed(part) for part in parts] == [[], ["one", "two", ""], []]
    assert cutter.end() == ["three"]
    assert cutter.end() == []


def test_a_long_line_is_cut_and_says_by_how_much() -> None:
    cutter = LineCutter(longest=4)
    assert cutter.feed(b"abcdef") == []
    assert cutter.feed(b"gh\nabcd\n") == ["abcd … 4 bytes left out", "abcd"]


def test_memory_does_not_grow_with_a_line_that_never_ends() -> None:
    cutter = LineCutter(longest=10)
    for _ in range(1000):
        assert cutter.feed(b"x" * 1000) == []
    assert cutter.end() == [f"{'x' * 10} … 999990 bytes left out"]


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    assert LineCutter().feed(b"gr" + b"\xfc\xdfe\n") == ["gr\ufffd\ufffde"]
    cutter = LineCutter()
    cutter.feed("ü".encode()[:1])
    assert cutter.feed("ü".encode()[1:] + b"\n") == ["ü"]


def test_too_many_lines_of_a_second_are_counted() -> None:
    budget = LineBudget(most=2)
    assert [budget.take(now) for now in (0.0, 0.1, 0.2, 0.9, 1.1)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert [budget.owed(), budget.owed()] == [2, 0]
