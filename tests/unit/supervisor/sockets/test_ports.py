"""Nobody who has connected is cut off because a listener goes, whatever goes on beside that."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from skep.base.errors import ListenError
from skep.base.sockets.endpoint import Endpoint
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import Events
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.sockets.inboxes import Inboxes
from skep.supervisor.sockets.listeners import Listeners
from skep.supervisor.sockets.ports import Ports
from skep.wire.messages import HandedOver
from tests.support import wait_until_async


class House:
    """Generations 1 and 2 of a platform, each with a listener that the next one does not want, and
    a worker that has a copy of it."""

    def __init__(self) -> None:
        self.listeners = Listeners()
        self.generations = [cast(Generation, SimpleNamespace(number=n)) for n in (1, 2, 3)]
        self.rollouts = Generations()
        self.rollouts.current = self.generations[0]
        self.children = Children(Events(), lambda: None)
        inboxes = Inboxes(Path("/nowhere"), {})
        self.ports = Ports(
            self.listeners, inboxes, self.rollouts, self.children, lambda: None, patient=False
        )
        self.workers: list[socket.socket] = []
        self.clients: list[socket.socket] = []

    async def open(self) -> None:
        for number in (1, 2):
            name = f"p.{number}"
            wanted = Endpoint(name, "127.0.0.1", 0, owner="plugin p", remedy="p.py")
            await self.listeners.open([wanted], number)
            (descriptor,) = self.listeners.descriptors([name], number)
            self.workers.append(socket.socket(fileno=os.dup(descriptor)))
            address = ("127.0.0.1", self.listeners.port(name, number))
            self.clients.append(socket.create_connection(address))

    def accept(self, number: int) -> None:
        """Let the worker of a generation accept who waits there."""
        self.workers[number - 1].accept()[0].close()

    def close(self) -> None:
        self.listeners.close()
        for sock in [*self.workers, *self.clients]:
            sock.close()


def run(test: Callable[[House], Awaitable[None]]) -> None:
    async def main() -> None:
        house = House()
        try:
            await house.open()
            await test(house)
        finally:
            house.close()

    asyncio.run(main())


def test_a_generation_waits_for_its_own_clients_also_if_another_parts_at_the_same_time() -> None:
    async def test(house: House) -> None:
        first, second, third = house.generations
        gone: list[int] = []
        house.rollouts.current = second
        house.ports.part(first, lambda: gone.append(1))
        house.rollouts.current = third
        house.ports.part(second, lambda: gone.append(2))
        house.children.take(cast(Child, None), HandedOver({}))
        house.accept(2)
        both = asyncio.create_task(wait_until_async(lambda: len(gone) == 2))
        done, _ = await asyncio.wait({both}, timeout=0.3)
        assert not done, "somebody waits to be accepted by the first generation"
        house.accept(1)
        await both

    run(test)


def test_a_stop_waits_for_all_who_have_come_whatever_a_worker_says_meanwhile() -> None:
    async def test(house: House) -> None:
        closing = asyncio.create_task(house.ports.close())
        await wait_until_async(lambda: house.listeners.waited_at)
        # It had reached its age, and its successor has come
        house.children.take(cast(Child, None), HandedOver({}))
        done, _ = await asyncio.wait({closing}, timeout=0.3)
        assert not done, "somebody waits to be accepted"
        house.accept(1)
        house.accept(2)
        await closing

    run(test)


def test_once_a_stop_has_begun_nothing_is_bound_again() -> None:
    async def test(house: House) -> None:
        closing = asyncio.create_task(house.ports.close())
        await asyncio.sleep(0)
        with pytest.raises(ListenError, match="stopping"):
            await house.ports.bind(house.generations[2])
        house.accept(1)
        house.accept(2)
        await closing

    run(test)
