"""Random operations leave the same in a table as in a dict."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skep import Table, TableFull, transaction
from skep.table.binding import Tables, bind

ROWS = 4


class Model(Table, rows=ROWS, index=("n", "on", "x"), name="model"):
    n: int
    x: float
    on: bool


KEYS = st.sampled_from(["a", "ab", "b", "é", "a\0b", "zz"])
NUMBERS = st.integers(-3, 3)
VALUES = st.fixed_dictionaries(
    {}, optional={"n": NUMBERS, "x": st.floats(-2, 2), "on": st.booleans()}
)
NEW: dict[str, Any] = {"n": 0, "x": 0.0, "on": False}


class TableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.tables = Tables(Path(self.folder.name))
        self.before = bind(self.tables)
        self.model: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        self.tables.close()
        bind(self.before)
        self.folder.cleanup()

    def is_full_for(self, key: str) -> bool:
        return key not in self.model and len(self.model) >= ROWS

    @rule(key=KEYS, values=VALUES)
    def set(self, key: str, values: dict[str, Any]) -> None:
        try:
            Model.set(key, **values)
        except TableFull:
            assert self.is_full_for(key)
        else:
            assert not self.is_full_for(key)
            self.model[key] = {**self.model.get(key, NEW), **values}

    @rule(key=KEYS, by=NUMBERS)
    def increment(self, key: str, by: int) -> None:
        if self.is_full_for(key):
            return
        row = self.model.setdefault(key, dict(NEW))
        row["n"] += by
        assert Model.increment(key, "n", by) == row["n"]

    @rule(key=KEYS, expected=NUMBERS, values=VALUES)
    def compare_and_set(self, key: str, expected: int, values: dict[str, Any]) -> None:
        is_so = key in self.model and self.model[key]["n"] == expected
        assert Model.compare_and_set(key, {"n": expected}, **values) == is_so
        if is_so:
            self.model[key].update(values)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert Model.delete(key) == (self.model.pop(key, None) is not None)

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        row, expected = Model.pop(key), self.model.pop(key, None)
        assert (None if row is None else {"n": row.n, "x": row.x, "on": row.on}) == expected

    @rule(key=KEYS)
    def expire(self, key: str) -> None:
        assert Model.expire(key, 0) == (self.model.pop(key, None) is not None)

    @rule(keys=st.lists(KEYS, max_size=4), is_kept=st.booleans())
    def transaction(self, keys: list[str], is_kept: bool) -> None:
        model = {key: dict(row) for key, row in self.model.items()}
        try:
            with transaction():
                for key in keys:
                    Model.delete(key)
                    model.pop(key, None)
                if not is_kept:
                    raise InterruptedError
        except InterruptedError:
            return
        self.model = model

    @rule()
    def clear(self) -> None:
        assert Model.clear() == len(self.model)
        self.model.clear()

    @rule()
    def reopen(self) -> None:
        self.tables.close()
        self.tables.spaces.clear()

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        found = {row.key: {"n": row.n, "x": row.x, "on": row.on} for row in Model.rows()}
        assert found == self.model
        assert Model.count() == len(self.model)
        assert all(Model.exists(key) == (key in self.model) for key in ("a", "b"))

    @invariant()
    def the_index_has_the_rows_of_the_model(self) -> None:
        for name, value in (("n", 1), ("n", 0), ("on", True), ("x", 0.0)):
            expected = {key for key, row in self.model.items() if row[name] == value}
            assert {row.key for row in Model.where(**{name: value})} == expected


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
