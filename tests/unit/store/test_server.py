"""The store behind its socket, in this loop."""

import asyncio
import itertools
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest

from skep.base.errors import RequestRefused, StoreFull
from skep.base.rundir import RunDir, bind_unix
from skep.engine.contract import Envelope, Outcome, Settlement
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from skep.store.file import schema
from skep.store.file.reserve_file import ReserveFile
from skep.store.server import serve
from skep.store.state.deliveries import Deliveries
from skep.testing.real import store
from tests.support import wait_until_async


def an_envelope(body: bytes = b"{}") -> Envelope:
    return Envelope(new_id(), "orders.Send", body)


def test_a_store_ends_promptly_and_leaves_the_socket_to_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        rundir = RunDir(tmp_path)
        with bind_unix(rundir.store_socket) as listener:
            # Given a client with a lease, and one who waits for something
            stop = asyncio.Event()
            first = asyncio.create_task(
                serve(listener, rundir.queue_file, run_id="run-1", stop=stop)
            )
            engine = Embedded(rundir.store_socket, "a")
            await engine.open()
            await engine.put([an_envelope()])
            (lease,) = await engine.lease((), 1)
            waiting = asyncio.create_task(engine.lease((), 1))
            # When the store is stopped
            await asyncio.sleep(0)
            stop.set()
            await asyncio.wait_for(first, 20)
            # Then nobody notices, when there is another
            stop = asyncio.Event()
            second = asyncio.create_task(
                serve(listener, rundir.queue_file, run_id="run-1", stop=stop)
            )
            assert await engine.settle([Settlement(lease, "done")]) == [True]
            await engine.put([an_envelope()])
            assert len(await waiting) == 1
            await engine.close()
            stop.set()
            await second

    asyncio.run(test())


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x02\xc1\xc1"])
def test_a_client_that_speaks_no_request_is_cut_off_and_nobody_else(
    tmp_path: Path, words: bytes
) -> None:
    async def test() -> None:
        async with store(tmp_path) as path:
            engine = Embedded(path, "a")
            await engine.open()
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(words)
            with pytest.raises(ConnectionResetError):
                await _read_to_reset(reader)
            writer.close()
            assert not (await engine.put([an_envelope()]))[0].duplicate
            await engine.close()

    asyncio.run(test())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused_even_where_the_files_let_him_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with store(tmp_path) as path:
            path.parent.chmod(0o711)
            path.chmod(0o666)
            code = (
                "import os, socket, sys\n"
                "folder = os.open(sys.argv[1], os.O_PATH)\n"
                "os.setuid(65534)\n"
                "client = socket.socket(socket.AF_UNIX)\n"
                "client.connect(f'/proc/self/fd/{folder}/{sys.argv[2]}')\n"
                "print(client.recv(1))\n"
            )
            stranger = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, str(path.parent), path.name, stdout=PIPE, stderr=PIPE
            )
            said, complained = await asyncio.wait_for(stranger.communicate(), 30)
            assert said == b"b''\n", complained

    asyncio.run(test())
    assert "process of another user tried to reach the store" in caplog.text


async def _read_to_reset(reader: asyncio.StreamReader) -> None:
    if not await asyncio.wait_for(reader.read(), 20):
        raise ConnectionResetError


def test_a_full_disk_refuses_what_is_new_and_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says the same when the file may not grow as when the disk is full."""
    monkeypatch.setattr(schema, "_PRAGMAS", (*schema._PRAGMAS, "PRAGMA max_page_count = 60"))

    async def test() -> None:
        async with store(tmp_path) as path:
            engine = Embedded(path, "a")
            await engine.open()
            # Given something at work, and a store that takes nothing more
            await engine.put([an_envelope(b"x" * 50_000)])
            (lease,) = await engine.lease((), 1)
            kept = await _put_until_full(engine)
            with pytest.raises(StoreFull, match="disk of the data directory is full"):
                await engine.put([an_envelope(b"x" * 10_000)])
            # When the work is done
            assert (await engine.stats())["default"].ready == kept > 5
            assert await engine.settle([Settlement(lease, "done")]) == [True]
            # Then there is room again, without any ado
            assert not (await engine.put([an_envelope(b"x" * 10_000)]))[0].duplicate
            assert (await engine.stats())["default"].ready == kept + 1
            await engine.close()

    asyncio.run(test())


async def _put_until_full(engine: Embedded) -> int:
    for kept in itertools.count():
        try:
            await engine.put([an_envelope(b"x" * 10_000)])
        except StoreFull:
            return kept
    raise AssertionError


def test_a_turn_that_fails_is_split_until_the_one_that_fails_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: of requests that share a transaction, only the one that makes it fail is refused."""
    put = Deliveries.put

    def poisoned(moves: Deliveries, envelopes: list[Envelope], now: int) -> list[Outcome]:
        if any(envelope.body == b"poison" for envelope in envelopes):
            raise RuntimeError("poisoned")
        return put(moves, envelopes, now)

    monkeypatch.setattr(Deliveries, "put", poisoned)

    async def test() -> None:
        async with store(tmp_path) as path:
            engine = Embedded(path, "a")
            await engine.open()
            # When many requests come at once, so that they are one turn
            bodies = [b"{}"] * 40 + [b"poison"] + [b"{}"] * 40
            outcomes = await asyncio.gather(
                *(engine.put([an_envelope(body)]) for body in bodies), return_exceptions=True
            )
            # Then all are kept but the one
            assert [type(o) for o in outcomes] == [
                RequestRefused if body == b"poison" else list for body in bodies
            ]
            assert "poisoned" in str(outcomes[40])
            assert (await engine.stats())["default"].ready == 80
            await engine.close()

    asyncio.run(test())


def test_a_full_disk_and_a_locked_file_are_reported_and_so_is_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D15, B26: operators are told why nothing new is accepted, or why it takes so long."""
    told: list[list[str]] = []
    run_dir = RunDir(tmp_path)

    async def test() -> None:
        with bind_unix(run_dir.store_socket) as listener:
            stop = asyncio.Event()
            serving = asyncio.create_task(
                serve(listener, run_dir.queue_file, run_id="1", stop=stop, troubled=told.append)
            )
            engine = Embedded(run_dir.store_socket, "a")
            await engine.open()
            await engine.put([an_envelope()])
            assert told == [[]]
            # When there is no room on the disk
            free = ReserveFile.free
            monkeypatch.setattr(ReserveFile, "free", lambda ballast: 0)
            await wait_until_async(lambda: len(told) == 2)
            assert "is full" in told[1][0]
            monkeypatch.setattr(ReserveFile, "free", free)
            await wait_until_async(lambda: len(told) == 3)
            # And when another program has locked the file
            with closing(sqlite3.connect(run_dir.queue_file)) as backup:
                backup.execute("BEGIN IMMEDIATE")
                putting = asyncio.create_task(engine.put([an_envelope()]))
                await wait_until_async(lambda: len(told) == 4)
                assert "locked by another program" in told[3][0]
            await putting
            await wait_until_async(lambda: len(told) == 5)
            assert told[2] == told[4] == []
            await engine.close()
            stop.set()
            await serving

    asyncio.run(test())
