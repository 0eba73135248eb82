"""What happens to the queue's file under a store that works, and what the store does about it.

A file that SQLite has open must not be opened and closed in the same process, so the store is
another process, as on a platform.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from skep.base.errors import StoreFull
from skep.engine.contract import DeliveryRow, Engine, Envelope, Settlement
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id, now_ms
from skep.store.file.opening import rows_of
from tests.process.store_child import StoreChild
from tests.support import wait_until_async

pytestmark = pytest.mark.process


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreChild]:
    with StoreChild(tmp_path / "data") as store:
        yield store


def with_client(store: StoreChild, work: Callable[[Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = Embedded(store.path, "task.0@1:1")
        await engine.open()
        await engine.stats()
        try:
            await work(engine)
        finally:
            await engine.close()

    asyncio.run(run())


def an_envelope(**fields: object) -> Envelope:
    return Envelope(**{"id": new_id(), "name": "orders.Send", "body": b"{}", **fields})  # type: ignore[arg-type]


async def all_of(engine: Engine, state: str = "ready") -> dict[str, DeliveryRow]:
    rows: dict[str, DeliveryRow] = {}
    for queue in await engine.stats():
        after = ""
        while page := await engine.scan(queue, state, after, 100):  # type: ignore[arg-type]
            rows |= {row.envelope.id: row for row in page}
            after = page[-1].place
    return rows


def damage(file: Path, text: bytes, to: bytes) -> int:
    """Change a text in the file itself, wherever it stands; return how often it stood there."""
    content = file.read_bytes()
    file.write_bytes(content.replace(text, to))
    return content.count(text)


def stopped_and(store: StoreChild, act: Callable[[Path], object]) -> None:
    """Stop the store, so that the log is merged, do something to its file, and start it."""
    assert store.stop() == 0
    act(store.directory.queue_file)
    store.start()


# -- D2: rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column", ["name", "queue", "headers", "lane", "rules", "priority", "due", "body"]
)
def test_a_damaged_row_becomes_a_dead_letter_and_stops_nothing(
    store: StoreChild, column: str
) -> None:
    """D2: one byte of one row of queue.db that is not UTF-8, or not what belongs there, costs this
    row alone: the others run, and new ones are accepted."""
    values = {"priority": "'high'", "due": "-5", "body": "7"}
    mark = "damage-me"

    def break_it(file: Path) -> None:
        with closing(sqlite3.connect(file)) as database:
            if column in values:
                sql = f"UPDATE delivery SET {column} = {values[column]} WHERE id = 'bad'"
                assert database.execute(sql).rowcount == 1
                database.commit()
                return
        assert damage(file, mark.encode(), b"damage\xffme")

    async def test(engine: Engine) -> None:
        # Given many deliveries, one of which is damaged in the file
        fields: dict[str, object] = {"id": "bad"}
        if column in ("name", "queue"):
            fields[column] = mark
        elif column == "headers":
            fields[column] = {"note": mark}
        elif column in ("lane", "rules"):
            fields["concurrency_key" if column == "lane" else "key"] = mark
        sent = [an_envelope() for _ in range(60)]
        await engine.put([*sent[:30], an_envelope(**fields), *sent[30:]])
        await asyncio.to_thread(stopped_and, store, break_it)
        # When they are leased
        leased: list[str] = []
        while len(leased) < 60:
            leases = await asyncio.wait_for(engine.lease((), 100), 20)
            assert await engine.settle([Settlement(lease, "done") for lease in leases])
            leased += [lease.envelope.id for lease in leases]
        # Then all others have run, each once, and the store takes new ones
        assert sorted(leased) == sorted(envelope.id for envelope in sent)
        assert not (await engine.put([an_envelope()]))[0].duplicate
        assert is_held(store.directory.queue_file)
        # And the damaged one is a dead letter
        dead = await all_of(engine, "dead")
        assert set(dead) == {"bad"}
        assert dead["bad"].reason == "corrupt"
        what = "key" if column == "rules" else column
        assert what in dead["bad"].error or column == "rules"

    with_client(store, test)


def test_a_damaged_dead_letter_can_be_listed_with_the_others(store: StoreChild) -> None:
    """D2: a dead letter whose error is not UTF-8 is shown as far as it can be read."""

    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(id="bad"), an_envelope(id="good")])
        for lease in await engine.lease((), 2):
            end = Settlement(lease, "dead", reason="failed", error=f"damage-{lease.envelope.id}!")
            assert await engine.settle([end]) == [True]
        await asyncio.to_thread(
            stopped_and, store, lambda file: damage(file, b"damage-bad!", b"damage\xffbad!")
        )
        dead = await all_of(engine, "dead")
        assert {id_: row.reason for id_, row in dead.items()} == {
            "bad": "corrupt",
            "good": "failed",
        }

    with_client(store, test)


def test_an_index_that_leads_nowhere_is_built_again_while_the_store_works(
    store: StoreChild,
) -> None:
    """D3: entries of an index that do not fit their rows are found by whoever changes the rows."""

    def break_it(file: Path) -> None:
        with closing(sqlite3.connect(file)) as database:
            page = database.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = 'delivery_ready'"
            ).fetchone()[0]
        content = bytearray(file.read_bytes())
        where = slice(4096 * (page - 1), 4096 * page)
        assert b"default" in content[where]
        content[where] = content[where].replace(b"default", b"defaulx")
        file.write_bytes(content)

    async def test(engine: Engine) -> None:
        sent = [an_envelope(due=now_ms() + 200) for _ in range(20)]
        sent += [an_envelope() for _ in range(20)]
        await engine.put(sent)
        await asyncio.to_thread(stopped_and, store, break_it)
        done: list[str] = []
        while len(done) < 40:
            leases = await asyncio.wait_for(engine.lease((), 100), 20)
            assert await engine.settle([Settlement(lease, "done") for lease in leases])
            done += [lease.envelope.id for lease in leases]
        assert sorted(done) == sorted(envelope.id for envelope in sent)
        assert not await all_of(engine, "dead")

    with_client(store, test)


# -- D7, B11: the file -----------------------------------------------------------------------------


def remove(file: Path) -> None:
    file.unlink()


def remove_all(file: Path) -> None:
    for part in file.parent.glob("queue.db*"):
        part.unlink()


def remove_log(file: Path) -> None:
    file.with_name("queue.db-wal").unlink()


def replace(file: Path) -> None:
    other = file.with_name("other")
    shutil.copy(file, other)
    other.rename(file)


def replace_by_nothing_of_ours(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"this is no database" * 1000)
    other.rename(file)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def empty_log(file: Path) -> None:
    os.truncate(file.with_name("queue.db-wal"), 0)


@pytest.mark.parametrize(
    "harm",
    [
        remove,
        remove_all,
        remove_log,
        replace,
        replace_by_nothing_of_ours,
        cut,
        empty,
        empty_log,
    ],
    ids=lambda harm: harm.__name__,
)
def test_what_is_held_is_written_to_a_new_file_when_the_file_is_harmed(
    store: StoreChild, harm: Callable[[Path], None]
) -> None:
    """D7, B11: queue.db or its log removed, replaced or cut under the store: it is noticed by
    itself, loudly, and what was kept before and after is there for the next store."""
    file = store.directory.queue_file

    async def test(engine: Engine) -> None:
        # Given deliveries that wait, one that runs, a paused queue and a dead letter
        later = now_ms() + 3_600_000
        before = [an_envelope(due=later) for _ in range(50)]
        running, died = an_envelope(priority=9), an_envelope(priority=9)
        await engine.put([*before, running, died])
        await engine.pause(["paused"])
        leases = {lease.envelope.id: lease for lease in await engine.lease((), 2)}
        await engine.settle([Settlement(leases[died.id], "dead", reason="failed", error="boom")])
        # When the file is harmed, and more is delivered at once
        await asyncio.to_thread(harm, file)
        after = [an_envelope(due=later) for _ in range(5)]
        for envelope in after:
            await engine.put([envelope])
        # Then there is a new one by itself, and what runs can end
        await wait_until_async(lambda: is_sound(file))
        await engine.stats()  # the store has come so far as to answer: it has the new file open
        assert is_held(file)
        assert await engine.settle([Settlement(leases[running.id], "done")]) == [True]
        # And after the death of the store everything is there
        await asyncio.to_thread(store.kill)
        store.run_id = "run-2"
        store.start()
        kept = await all_of(engine, "scheduled")
        assert set(kept) == {envelope.id for envelope in (*before, *after)}
        assert set(await all_of(engine, "dead")) == {died.id}
        assert (await engine.stats())["paused"].paused

    with_client(store, test)


def test_nothing_is_confirmed_while_there_is_no_place_to_keep_it(store: StoreChild) -> None:
    """D7: the data directory itself is gone: what is new is refused, or waits; what was confirmed
    is written down as soon as there is a directory again."""
    directory = store.directory.path

    async def test(engine: Engine) -> None:
        await engine.put([an_envelope(id="before")])
        shutil.rmtree(directory)
        # When something is delivered into nothing
        waits = asyncio.create_task(engine.put([an_envelope(id="during")]))
        await wait_until_async(lambda: is_refused(engine))
        assert not waits.done() or isinstance(waits.exception(), StoreFull)
        # Then it is kept, with what was there, when there is a directory
        directory.mkdir(mode=0o700)
        await wait_until_async(lambda: is_sound(store.directory.queue_file))
        await asyncio.wait([waits])
        kept = await all_of(engine)
        is_kept = waits.exception() is None
        assert set(kept) - {"refused"} == {"before", *(["during"] if is_kept else [])}
        await wait_until_async(lambda: is_accepted(engine))

    with_client(store, test)


async def is_accepted(engine: Engine) -> bool:
    return not await is_refused(engine)


async def is_refused(engine: Engine) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await engine.put([an_envelope(id="refused")])
    except StoreFull:
        return True
    except TimeoutError:
        return False
    return False


def is_held(file: Path) -> bool:
    """Whether the store has its locks on the file: whoever could change the mode of the journal
    could also delete the log under it."""
    with closing(sqlite3.connect(file, timeout=0)) as database:
        try:
            (mode,) = database.execute("PRAGMA journal_mode = DELETE").fetchone()
            return bool(mode != "delete")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)


def is_sound(file: Path) -> bool:
    """Whether the file is a whole database that knows what has happened, as another process sees
    it."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            is_whole = database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            told = database.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone()
            return is_whole and told is not None and "while it was in use" in told[0]
    except sqlite3.Error:
        return False


def test_a_damaged_log_is_told_and_what_stands_behind_the_damage_is_kept(
    store: StoreChild,
) -> None:
    """D3, D7: a byte of the log is damaged while the store is dead: SQLite passes over all that was
    written later, so that is told, and can be recovered."""

    async def test(engine: Engine) -> None:
        sent = [an_envelope() for _ in range(60)]
        for envelope in sent:
            await engine.put([envelope])
        await asyncio.to_thread(store.kill)
        log = store.directory.queue_file.with_name("queue.db-wal")
        content = bytearray(log.read_bytes())
        content[len(content) // 2] ^= 0x55
        log.write_bytes(content)
        store.run_id = "run-2"
        store.start()
        kept = await all_of(engine)
        assert len(kept) < len(sent)
        (told,) = await engine.acknowledge()  # type: ignore[attr-defined]
        assert "The log of the queue" in told
        (aside,) = log.parent.glob("queue.db.corrupt-*[0-9]")
        assert str(aside) in told
        await engine.restore([*rows_of(aside)])  # type: ignore[attr-defined]
        waiting, dead = await all_of(engine), await all_of(engine, "dead")
        assert waiting.keys() | dead.keys() >= {envelope.id for envelope in sent}

    with_client(store, test)


def test_an_older_file_that_is_copied_over_it_is_noticed(store: StoreChild) -> None:
    """D7: `cp backup.db queue.db` under the store: the file keeps its inode and is whole. What is
    overwritten is gone, but not in silence."""
    file = store.directory.queue_file
    older = file.with_name("older.db")

    async def test(engine: Engine) -> None:
        sent = [an_envelope(body=b"x" * 1000) for _ in range(200)]
        await engine.put(sent[:50])
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(older)) as target:
            source.backup(target)
        await engine.put(sent[50:])
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        before = file.stat().st_mtime_ns
        # The store has looked at the file as it is now when the reserve file is there again
        ballast = file.with_name("queue.db.ballast")
        ballast.unlink()
        await wait_until_async(ballast.exists)
        assert file.stat().st_mtime_ns == before
        shutil.copyfile(older, file)
        await wait_until_async(lambda: is_sound(file))
        # Then what the older one held is there, and what is accepted from then on
        later = an_envelope()
        await engine.put([later])
        assert (await all_of(engine)).keys() >= {envelope.id for envelope in (*sent[:50], later)}
        (told,) = await engine.acknowledge()  # type: ignore[attr-defined]
        assert "cut or overwritten" in told

    with_client(store, test)


# -- B26 -------------------------------------------------------------------------------------------


def test_a_program_that_locks_the_file_is_waited_for(store: StoreChild) -> None:
    """B26: a backup that holds the database delays what is asked, and nothing fails."""

    async def test(engine: Engine) -> None:
        await engine.put([an_envelope()])
        pid = store.pid
        with closing(sqlite3.connect(store.directory.queue_file)) as backup:
            backup.execute("BEGIN IMMEDIATE")
            put = asyncio.create_task(engine.put([an_envelope()]))
            # Then it still answers whoever looks for a delivery
            assert [await engine.find("nothing") for _ in range(20)] == [None] * 20
            assert not put.done()
            backup.rollback()
        assert not (await put)[0].duplicate
        assert store.pid == pid
        assert len(await engine.lease((), 5)) == 2

    with_client(store, test)
