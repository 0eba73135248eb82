"""What verbs print."""

import json

import pytest
from rich.cells import cell_len

from skep.cli import output

ROW = ("01a2264c642573bca64a0bda473ee93a", "orders.SendReceipt", "default", "3", "in 1598 s", "-")
HEADINGS = ("id", "name", "queue", "attempt", "due", "holder")


def table(capsys: pytest.CaptureFixture[str], rows: list[tuple[str, ...]]) -> list[str]:
    output.print_table(HEADINGS, rows, right=("attempt",))
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "25")


def test_a_table_that_is_piped_has_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    head, row = table(capsys, [ROW])
    assert row == f"{ROW[0]}  {ROW[1]}  {ROW[2]}        3  in 1598 s  -"
    assert head.index("due") == row.index("in 1598 s")


@pytest.mark.usefixtures("_terminal")
def test_columns_that_do_not_fit_stand_below_their_row(capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(capsys, [ROW, ("b", *ROW[1:])])
    assert max(map(cell_len, lines)) <= 80
    assert [" ".join(line.split()) for line in lines] == [
        "id name queue attempt",
        f"{ROW[0]} orders.SendReceipt default 3",
        "due in 1598 s",
        "b orders.SendReceipt default 3",
        "due in 1598 s",
    ]


@pytest.mark.usefixtures("_terminal")
def test_no_cell_is_cut_however_long_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 200
    assert long in "".join(table(capsys, [(*ROW[:1], long, *ROW[2:])]))
    assert long in "".join(table(capsys, [(long, *ROW[1:])]))


def test_cells_may_have_markup_and_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    row = table(capsys, [("[red]a\nb[/red]", *ROW[1:])])[1]
    assert row.startswith("a b  orders.SendReceipt")


def test_an_empty_table_has_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(capsys, []) == ["id  name  queue  attempt  due  holder"]


def test_a_document_is_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    output.show({"a": "ü"}, True, lambda document: None)
    assert json.loads(capsys.readouterr().out) == {"a": "ü"}
    output.show({"sentence": "Done."}, False, output.print_sentence)
    assert capsys.readouterr().out == "Done.\n"
