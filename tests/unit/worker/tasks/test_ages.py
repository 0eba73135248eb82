"""Workers beside code of another age, and work that outlives its worker."""

import asyncio
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace

from skep.api.plugin import Plugin
from skep.api.tasks.context import Context
from skep.api.tasks.policy import Policy
from skep.api.tasks.task import Task
from skep.config.options.table import Options
from skep.engine.contract import DeliveryRow, Envelope, Lease
from skep.engine.senders import sender_of
from skep.worker.loading.catalog import Catalog
from skep.worker.tasks.queues import CutOffTerms
from skep.worker.tasks.steps import decode
from tests.support import wait_until_async
from tests.workshop import SENDER, Workshop, run_workshop

NEWER = sender_of("run-1", 8, "code-of-8")


class Note(Task):
    """Remembers that it ran."""

    text: str
    ran: ClassVar[list[str]] = []

    async def handle(self, ctx: Context) -> str:
        self.ran.append(self.text)
        return self.text

    async def finish(self, result: str, ctx: Context) -> None:
        self.ran.append(f"finish {result}")


class Long(Task):
    """Never ends by itself."""

    name: str
    begun: ClassVar[list[str]] = []
    drain = 3600
    tries = 2

    async def handle(self, ctx: Context) -> None:
        self.begun.append(self.name)
        await asyncio.Event().wait()


class Short(Long):
    """The same, and it may be cut off at once."""

    drain = 0


class Given(Short):
    """The same, but not twice."""

    cut_tries = 1


PLUGIN = Plugin(tasks=[Note, Long, Short, Given])


def an_envelope(body: bytes, sender: str = NEWER) -> Envelope:
    return replace(Note(text="").envelope(), body=body, sender=sender)


async def row_of(shop: Workshop, delivery: str) -> DeliveryRow:
    row = await shop.engine.find(delivery)
    assert row is not None
    return row


def test_what_a_newer_generation_delivered_is_given_back_uncounted(tmp_path: Path) -> None:
    """A9: until it must have come into service; then it is run if it fits exactly."""

    async def test(shop: Workshop) -> None:
        Note.ran.clear()
        fits, has_more, old = (
            an_envelope(b'{"text": "fits"}'),
            an_envelope(b'{"text": "has more", "colour": "red"}'),
            an_envelope(b'{"text": "old", "gone": 1}', sender_of("run-1", 6, "code-of-6")),
        )
        await shop.engine.put([fits, has_more, old])

        async def both_given_back() -> bool:
            rows = [await row_of(shop, sent.id) for sent in (fits, has_more)]
            return all(row.state == "scheduled" for row in rows)

        await wait_until_async(both_given_back)
        await wait_until_async(lambda: Note.ran == ["old", "finish old"])
        for sent in (fits, has_more):
            row = await row_of(shop, sent.id)
            assert (row.attempt, row.losses, row.cuts) == (1, 0, 0)
        # When no rollout can take so long
        shop.ahead = 60_000 + 10_000
        await shop.done()
        assert Note.ran[2:] == ["fits", "finish fits"]
        (dead,) = await shop.dead()
        assert (dead.envelope.id, dead.reason) == (has_more.id, "undecodable")
        assert "colour" in dead.error

    run_workshop(tmp_path, PLUGIN, test)


def test_what_is_delivered_and_what_follows_bear_the_sender_of_their_worker(tmp_path: Path) -> None:
    """A9: what `handle` has returned is for the `finish` of the same code."""

    async def test(shop: Workshop) -> None:
        assert Note(text="").envelope().sender == SENDER
        lease = Lease(an_envelope(b'{"text": "x"}', sender=""), "1-1", 1, 0, 0)
        (follower,) = decode(lease, Catalog.collect({"shop": PLUGIN})).on_return("x")
        assert follower.sender == SENDER

    run_workshop(tmp_path, PLUGIN, test)


def test_each_handler_is_cut_off_in_its_own_time(tmp_path: Path) -> None:
    """A10: a long one may go on while another is cut off, counted and at last given up."""

    async def test(shop: Workshop) -> None:
        Long.begun.clear()
        names = {"long": Long, "short": Short, "given": Given}
        ids = {name: (await cls(name=name).deliver()).id for name, cls in names.items()}
        await wait_until_async(lambda: len(Long.begun) == 3)
        shop.kind.retire()
        draining = asyncio.ensure_future(shop.kind.drain(asyncio.get_running_loop().time() + 3600))

        await wait_until_async(lambda: len(shop.told("task.cut_off")) == 2)
        long, short, given = [await row_of(shop, delivery) for delivery in ids.values()]
        assert (long.state, short.state, given.state) == ("leased", "ready", "dead")
        assert (short.cuts, short.attempt) == (1, 1)
        assert given.reason == "cut_off"
        assert not draining.done()
        # And a stop that does not wait for it cuts it off as well
        draining.cancel()
        await shop.kind.stop()
        row = await row_of(shop, ids["long"])
        assert (row.state, row.cuts) == ("ready", 1)
        assert [fields["task"] for fields in shop.told("task.cut_off")] == [
            "test_ages.Short",
            "test_ages.Given",
            "test_ages.Long",
        ]

    run_workshop(tmp_path, PLUGIN, test)


def test_the_task_says_how_long_it_may_go_on_or_else_its_queue_or_else_the_platform() -> None:
    outliving = CutOffTerms(Options(queues=("media drain=10m cuts=2",), drain_timeout=30.0))
    plain, own = Policy(), Policy(drain=1.5, cut_tries=9)
    drains = [outliving.drain(policy, queue) for policy in (plain, own) for queue in ("media", "x")]
    assert drains == [600, 30, 1.5, 1.5]
    tries = [outliving.cut_tries(p, queue) for p in (plain, own) for queue in ("media", "x")]
    assert tries == [2, 5, 9, 9]
    assert outliving.longest([plain, own]) == 600
    assert outliving.longest([Policy(drain=900)]) == 900
