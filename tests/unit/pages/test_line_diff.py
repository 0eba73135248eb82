"""Two texts side by side."""

from skep.pages.line_diff import side_by_side


def test_lines_that_differ_stand_beside_each_other_with_their_numbers() -> None:
    old, new = "a\nb\nc", "a\nB\nc\nd"
    lines = side_by_side(old, new)
    assert [(line.kind, line.left, line.right) for line in lines] == [
        ("same", "a", "a"),
        ("changed", "b", "B"),
        ("same", "c", "c"),
        ("added", "", "d"),
    ]
    assert [(line.left_number, line.right_number) for line in lines] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (0, 4),
    ]


def test_long_runs_of_equal_lines_are_left_out() -> None:
    same = [str(number) for number in range(20)]
    lines = side_by_side("\n".join(["x", *same, "x"]), "\n".join(["y", *same, "y"]))
    kinds = [line.kind for line in lines]
    assert kinds == ["changed", *["same"] * 3, "skipped", *["same"] * 3, "changed"]
    assert lines[4].left == "14"
    assert lines[-1].left_number == 22


def test_huge_texts_are_not_compared_line_by_line() -> None:
    old = "\n".join(str(number) for number in range(5000))
    assert {line.kind for line in side_by_side(old, f"{old}\nmore")} == {"changed", "added"}


def test_the_work_to_compare_is_bounded() -> None:
    # Each took minutes: lines that stand often, and lines that stand some times in another order
    old, new = ["a", "b"] * 1450, ["b", "a", "c"] * 960
    assert side_by_side("\n".join(old), "\n".join(new))[0].kind == "changed"
    old, new = [str(n % 300) for n in range(2999)], [str(n * 7 % 300) for n in range(2999)]
    assert side_by_side("\n".join(old), "\n".join(new))[-1].right_number == 2999


def test_blank_lines_do_not_hide_what_is_equal() -> None:
    old = "\n".join(f"{number}\n" for number in range(1000))
    kinds = [line.kind for line in side_by_side(old, f"new\n{old}")]
    assert (kinds[0], kinds.count("changed")) == ("added", 0)


def test_many_comparisons_share_the_time_of_a_page() -> None:
    old = "\n".join(map(str, range(300)))
    assert side_by_side(old, f"new\n{old}", among=100)[0].kind == "added"
    assert side_by_side(old, f"new\n{old}", among=10_000)[0].kind == "changed"
