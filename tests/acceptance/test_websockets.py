"""WebSockets over several workers, from everywhere, over a rollout, and in a browser."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.browser import browser
from tests.platform_process import Platform
from tests.support import wait_until, wait_until_async

PUSHERS = """
import asyncio
from skep import Plugin, Task, cron, push
from starlette.responses import JSONResponse
from starlette.routing import Route

class Tell(Task):
    user: str

    async def handle(self, ctx):
        await push({"from": "task", "text": "hi"}, user=self.user)

@cron(every="300ms")
async def beat(tick):
    await push({"from": "cron", "text": "hi"}, room="clock")

async def deliver(request):
    await Tell(user=request.path_params["user"]).deliver()
    return JSONResponse({})

plugin = Plugin(routes=[Route("/tell/{user}", deliver)], tasks=[Tell], crons=[beat])
"""


async def guest(platform: Platform, name: str) -> tuple[ClientConnection, str]:
    """Return a connection and the worker that has it."""
    url = platform.url.replace("http", "ws")
    client = await connect(f"{url}/echo/chat?name={name}", subprotocols=["chat.v1"])  # type: ignore[list-item]
    return client, json.loads(await client.recv())["worker"]


async def on_both(platform: Platform) -> dict[str, ClientConnection]:
    """Return a connection to each of the two web workers, by worker."""
    found: dict[str, ClientConnection] = {}
    numbers = itertools.count()

    async def more() -> bool:
        some = await asyncio.gather(*(guest(platform, f"g{next(numbers)}") for _ in range(8)))
        for client, worker in some:
            if worker in found:
                await client.close()
            else:
                found[worker] = client
        return len(found) == 2

    await wait_until_async(more)
    return found


async def heard(client: ClientConnection, **wanted: str) -> dict[str, Any]:
    """Return the first message in which these are."""
    async with asyncio.timeout(20):
        while True:
            said: dict[str, Any] = json.loads(await client.recv())
            if said | wanted == said:
                return said


async def code_of(client: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()
    return client.close_code


def test_the_guests_of_every_worker_are_in_one_table(sampled: Platform) -> None:
    """laravels.md §6: shared table; a worker that is killed leaves no guest behind."""
    sampled.start()

    def guests() -> dict[str, int]:
        found: dict[str, int] = httpx.get(f"{sampled.url}/echo/guests").json()
        return found

    async def test() -> None:
        clients = await on_both(sampled)
        wait_until(lambda: len(guests()) == 2)
        (worker, client), (_, other) = clients.items()
        os.kill(sampled.pids("web.")[worker], signal.SIGKILL)
        wait_until(lambda: len(guests()) == 1)
        await other.close()
        wait_until(lambda: guests() == {})
        await client.close()

    asyncio.run(test())


def test_a_push_reaches_every_worker_from_a_request_a_task_a_cron_and_the_cli(
    sampled: Platform,
) -> None:
    (sampled.plugins / "pushers.py").write_text(PUSHERS)
    sampled.start()

    async def test() -> None:
        clients = await on_both(sampled)
        (one, first), (_, second) = clients.items()
        both = [first, second]
        for client in both:
            await client.send('{"join": "clock"}')
        for client in both:
            assert await heard(client, **{"from": "cron"})
        await first.send(json.dumps({"room": "lobby", "text": "hello"}))
        for client in both:
            assert await heard(client, text="hello", room="lobby")
        # A request to any worker reaches the user on either
        user = json.loads(sampled.cli("ws", "ls", "--json").stdout)
        named = {row["worker"]: row for row in user}
        assert set(named) == set(clients)
        async with httpx.AsyncClient() as http:
            answering = set()
            for _ in range(30):
                url = f"{sampled.url}/echo/notify/{named[one]['user']}"
                answer = (await http.post(url, content=b"psst")).json()
                assert answer["reached"] == 1
                answering.add(answer["worker"])
                await heard(first, text="psst")
            await http.get(f"{sampled.url}/tell/{named[one]['user']}")
        assert await heard(first, **{"from": "task"})
        said = json.dumps({"from": "cli", "text": "all"})
        done = await asyncio.to_thread(sampled.cli, "ws", "push", "room:lobby", said)
        assert done.stdout == "Sent to 2 connections.\n"
        for client in both:
            assert await heard(client, **{"from": "cli"})
        kicked = f"connection:{named[one]['id']}"
        done = await asyncio.to_thread(sampled.cli, "ws", "kick", kicked, "--code", "4000")
        assert done.stdout == "Closed 1 connection.\n"
        assert await code_of(first) == 4000
        with pytest.raises(InvalidStatus):
            await connect(sampled.url.replace("http", "ws") + "/echo/chat")
        await second.close()

    asyncio.run(test())
    assert "platform_websocket_pushes_total" in sampled.metrics()
    bad = sampled.cli("ws", "push", "nonsense", "x")
    assert bad.returncode == 2
    assert "user:NAME" in bad.stderr


def test_a_rollout_closes_all_with_1012_spread_and_none_without_a_code(
    sampled: Platform,
) -> None:
    """Lifecycle, case 13."""
    sampled.start()

    async def test() -> None:
        loop = asyncio.get_running_loop()
        clients: list[ClientConnection] = []
        for start in range(0, 1000, 50):
            some = (guest(sampled, f"g{i}") for i in range(start, start + 50))
            clients += [client for client, _ in await asyncio.gather(*some)]
        ends: list[tuple[float, int | None]] = []

        async def watch(client: ClientConnection) -> None:
            code = await code_of(client)
            ends.append((loop.time(), code))

        watching = [asyncio.create_task(watch(client)) for client in clients]
        done = await asyncio.to_thread(sampled.cli, "reload")
        assert done.returncode == 0
        # Those who come back find the new generation at once, while the old ones still go
        client, worker = await guest(sampled, "again")
        assert worker.endswith("@2")
        await asyncio.wait(watching, timeout=20)
        assert {code for _, code in ends} == {1012}
        assert len(ends) == 1000
        times = [at for at, _ in ends]
        assert max(times) - min(times) >= 1.0
        await client.close()

    asyncio.run(test())
    closed = 'platform_websocket_closes_total{code="1012",route="/echo/chat"} 1000'
    wait_until(lambda: closed in sampled.metrics())


def test_the_page_of_the_sample_chats_in_a_browser_over_a_rollout(sampled: Platform) -> None:
    sampled.start()
    with browser() as page:
        page.open(f"{sampled.url}/echo?name=ann")
        wait_until(lambda: page.text("state").startswith("ann at web."))
        page.run(
            "document.getElementById('text').value = 'hello';"
            "document.querySelector('form').requestSubmit()"
        )
        wait_until(lambda: "ann: hello" in page.text("log"))
        assert sampled.cli("reload").returncode == 0
        wait_until(lambda: page.text("state").endswith("@2"))
        said = json.dumps({"from": "cli", "text": "still here"})
        assert sampled.cli("ws", "push", "user:ann", said).stdout == "Sent to 1 connection.\n"
        wait_until(lambda: "cli: still here" in page.text("log"))
