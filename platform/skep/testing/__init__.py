"""For the tests of plugins: their tasks, events and routes without a platform.

    async with manual(plugin) as lab:
        await lab.client.post("/orders/7/pay")
        lab.assert_fired(OrderPaid, order_id=7)
        await lab.drain()
        lab.assert_delivered(SendReceipt, order_id=7)
        await lab.advance(3)

`manual` runs nothing by itself, `inline` runs what is delivered at once, `real` has a real store
and a real task worker. `skep.testing.fixtures` are the same for pytest.
"""

from skep.testing.lab import Lab
from skep.testing.manual import ManualLab, inline, manual
from skep.testing.real import RealLab, real

__all__ = ["Lab", "ManualLab", "RealLab", "inline", "manual", "real"]
