"""Tasks made out of text, for somebody outside."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import field_validator

from skep.api.plugin import Plugin
from skep.api.tasks.context import Context
from skep.api.tasks.task import Task
from skep.wire.messages import Deliver, Delivered
from skep.worker.loading.catalog import Catalog
from skep.worker.tasks.deliver import deliver
from tests.workshop import Workshop, run_workshop

RUN: list[Task] = []


class Pack(Task):
    """Has fields of several types."""

    to: str
    number: int = 1
    on: date | None = None
    tags: list[str] = []  # noqa: RUF012 - pydantic copies it

    async def handle(self, ctx: Context) -> None:
        RUN.append(self)


class Broken(Task):
    """Cannot be made."""

    number: int

    @field_validator("number")
    @classmethod
    def fail(cls, value: int) -> int:
        raise RuntimeError("boom")

    async def handle(self, ctx: Context) -> None: ...


PLUGIN = Plugin(tasks=[Pack, Broken])


def send(tmp_path: Path, task: str, *values: str, **terms: Any) -> Delivered:
    """Deliver as the platform does, with a real store, and wait until it has run."""
    RUN.clear()
    answers = []

    async def test(shop: Workshop) -> None:
        catalog = Catalog.collect({"shop": PLUGIN})
        answers.append(await deliver(catalog, Deliver(3, "task", task, list(values), terms)))
        await shop.done()

    run_workshop(tmp_path, PLUGIN, test)
    (answer,) = answers
    assert answer.number == 3
    return answer


@pytest.mark.parametrize(
    ("values", "made"),
    [
        (['{"to": "bee", "on": "2026-11-25"}'], Pack(to="bee", on=date(2026, 11, 25))),
        (["bee", "7"], Pack(to="bee", number=7)),
        (["7", "7", "null", '["a b", "c"]'], Pack(to="7", number=7, tags=["a b", "c"])),
        (["true", "7", "2026-11-25"], Pack(to="true", number=7, on=date(2026, 11, 25))),
        (["ö: \N{HONEYBEE}"], Pack(to="ö: \N{HONEYBEE}")),
    ],
)
def test_values_are_read_as_the_fields_want_them(
    tmp_path: Path, values: list[str], made: Pack
) -> None:
    assert send(tmp_path, "test_deliver.Pack", *values).id
    assert [made] == RUN


@pytest.mark.parametrize(
    ("values", "terms", "code"),
    [
        (['{"to": 7}'], {}, "usage"),
        (['{"to": "bee", "number": "7"}'], {}, "usage"),
        (['{"to": "bee", "x": 1}'], {}, "usage"),
        (["\udcff"], {}, "usage"),
        (["bee", "[" * 100_000], {}, "usage"),
        (["bee", "1.5"], {}, "usage"),
        (["bee"], {"delay": -1}, "usage"),
        (["bee"], {"delay": "soon"}, "usage"),
        (["bee"], {"never": 1}, "usage"),
        ([json.dumps({"to": "x" * 2**20})], {}, "error"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_kept(
    tmp_path: Path, values: list[str], terms: dict[str, Any], code: str
) -> None:
    answer = send(tmp_path, "test_deliver.Pack", *values, **terms)
    assert (answer.id, answer.code) == ("", code)
    assert answer.refusal
    assert RUN == []


def test_a_validator_that_fails_is_told(tmp_path: Path) -> None:
    answer = send(tmp_path, "test_deliver.Broken", "7")
    assert (answer.code, "RuntimeError('boom')" in answer.refusal) == ("error", True)
