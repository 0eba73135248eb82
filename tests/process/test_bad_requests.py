"""Wrong values in public calls, beside a neighbour that delivers in the same process."""

import asyncio
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skep.base.telemetry import Telemetry
from skep.engine import binding, protocol
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from tests.process.bad_calls import (
    CALLS,
    DOCUMENTED,
    EDGES,
    VALUES,
    Call,
    Happened,
    Work,
    an_envelope,
    engine,
)
from tests.process.store_child import StoreChild

pytestmark = pytest.mark.process


class Neighbour:
    """Delivers again and again in the same process, over the same connection."""

    def __init__(self) -> None:
        self.delivered = 0

    async def deliver(self) -> None:
        receipt = await Work(name="neighbour").deliver(key=new_id())
        assert not receipt.duplicate
        self.delivered += 1


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[asyncio.Runner]:
    with StoreChild(tmp_path / "data", durability="normal") as store, asyncio.Runner() as runner:
        client = Embedded(store.path, "web.0@1:1", deadline=5.0)
        runner.run(client.open())

        async def bind() -> None:
            binding.bind(client, Telemetry(), {Happened.registered_name(): ("a", "b")})

        runner.run(bind())
        yield runner
        binding.unbind()
        runner.run(client.close())


def test_no_public_call_with_any_value_hurts_its_neighbours(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: a wrong value raises a documented error in its own call; the store never hangs up, and
    whoever delivers in the same process does not notice."""
    connection: Any = engine()._store
    connections: list[object] = []
    begin = connection._begin

    def begin_again(link: Any) -> None:
        connections.append(link)
        begin(link)

    monkeypatch.setattr(connection, "_begin", begin_again)
    neighbour = Neighbour()
    calls = 0

    async def both(call: Call, value: Any, other: Any) -> None:
        nonlocal calls
        calls += 1
        beside = asyncio.create_task(neighbour.deliver())
        with suppress(*DOCUMENTED):
            await call(value, other)
        await beside

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=400,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(CALLS)), VALUES, VALUES)
    def check(name: str, value: Any, other: Any) -> None:
        runner.run(both(CALLS[name], value, other))

    check()
    for name, call in CALLS.items():
        for edge in EDGES:
            try:
                runner.run(both(call, edge, edge))
            except BaseException as error:
                error.add_note(f"{name} with {edge!r}")
                raise
    assert neighbour.delivered == calls
    assert connections == []
    # And nothing is left of them that would be sent again
    assert connection._calls == {}


@pytest.mark.parametrize(
    "request_of",
    [
        lambda call: protocol.Await(call, "id", -1),
        lambda call: protocol.Await(call, None, 0),  # type: ignore[arg-type]
        lambda call: protocol.Put(call, [an_envelope(concurrency=2**40)]),
        lambda call: protocol.Put(call, [an_envelope(keep_result=2**60)]),
        lambda call: protocol.Take(call, [], -1),
        lambda call: ["no such request", call],
        lambda call: ["put", call],
    ],
)
def test_the_store_refuses_one_request_by_its_number_and_answers_the_next(
    tmp_path: Path, request_of: Callable[[int], Any]
) -> None:
    """A6: a request that should never have been sent is answered like any other."""

    async def test() -> None:
        reader, writer = await asyncio.open_unix_connection(str(store.path))
        for request in (request_of(7), protocol.Count(8)):
            body = protocol._encoder.encode(request)
            writer.write(struct.pack(">I", len(body)) + body)
        replies = [await _reply(reader), await _reply(reader)]
        assert [type(reply) for reply in replies] == [protocol.Invalid, protocol.Counts]
        assert [reply.call for reply in replies] == [7, 8]
        writer.close()

    with StoreChild(tmp_path / "data") as store:
        asyncio.run(test())


async def _reply(reader: asyncio.StreamReader) -> Any:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return protocol.decode_reply(await reader.readexactly(length))
