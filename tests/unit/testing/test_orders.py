"""The sample plugin `orders`, tried with the testing kit as its author would (case 20)."""

import asyncio
from typing import Any

import pytest

from plugins.orders import OrderPaid, SendReceipt, plugin
from skep.base.errors import StoreFull
from skep.testing import ManualLab, RealLab


def test_a_payment_sends_a_receipt_three_seconds_later(manual_lab: Any) -> None:
    """Tasks, case 20."""

    async def test() -> None:
        async with manual_lab(plugin) as lab:
            answer = await lab.client.post("/orders/7/pay")
            assert (answer.status_code, answer.json()) == (202, {"order": 7, "paid": True})
            lab.assert_fired(OrderPaid, order_id=7, times=1)
            # Nothing has run yet
            assert lab.delivered(SendReceipt) == []
            await lab.drain()
            lab.assert_delivered(SendReceipt, order_id=7, times=1)
            await lab.advance(2.9)
            assert await happened(lab) == ["paid", "payment noticed"]
            await lab.advance(0.1)
            assert await happened(lab) == [
                "paid",
                "payment noticed",
                "receipt sent",
                "receipt R-7 confirmed",
            ]

    asyncio.run(test())


def test_inline_a_payment_is_noticed_at_once(inline_lab: Any) -> None:
    """Tasks, case 20."""

    async def test() -> None:
        async with inline_lab(plugin) as lab:
            await lab.client.post("/orders/7/pay")
            assert await happened(lab) == ["payment noticed", "paid"]
            await lab.advance(10)
            assert (await happened(lab))[-1] == "receipt R-7 confirmed"

    asyncio.run(test())


def test_with_a_real_store_the_same_happens(real_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_RECEIPT_DELAY", "0.05")

    async def test() -> None:
        async with real_lab(plugin) as lab:
            await lab.client.post("/orders/7/pay")
            await lab.done()
            assert (await happened(lab))[-1] == "receipt R-7 confirmed"

    asyncio.run(test())


def test_a_payment_is_not_taken_while_the_queue_is_full(manual_lab: Any) -> None:
    async def test() -> None:
        async with manual_lab(plugin, queues=("default waiting=1",)) as lab:
            assert (await lab.client.post("/orders/1/pay")).status_code == 202
            answer = await lab.client.post("/orders/2/pay")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "is full" in answer.json()["error"]
            assert await happened(lab, 2) == []

    asyncio.run(test())


def test_a_payment_is_not_taken_while_the_disk_is_full(
    manual_lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(envelopes: object) -> None:
        raise StoreFull

    async def test() -> None:
        async with manual_lab(plugin) as lab:
            monkeypatch.setattr(lab.engine, "put", full)
            assert (await lab.client.post("/orders/1/pay")).status_code == 507
            assert await happened(lab, 1) == []

    asyncio.run(test())


async def happened(lab: ManualLab | RealLab, order: int = 7) -> list[str]:
    answer = await lab.client.get(f"/orders/{order}")
    return [entry["what"] for entry in answer.json()["happened"]]
