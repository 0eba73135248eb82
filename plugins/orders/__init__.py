"""Orders: a payment fires an event, its listener delivers a task, the task's end is written down.

POST /orders/7/pay  ─►  OrderPaid  ─►  OnOrderPaid  ─►  SendReceipt.handle  ─►  .finish
GET  /orders/7      ─►  what has happened, and in which worker
"""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from plugins.orders.diary import Diary
from skep import (
    Context,
    Event,
    Listener,
    Plugin,
    QueueFull,
    Settings,
    StoreFull,
    StoreUnavailable,
    Task,
)


class OrderSettings(Settings, prefix="ORDERS_"):
    """`ORDERS_RECEIPT_DELAY`: how many seconds after the payment the receipt is sent."""

    receipt_delay: float = 3.0


class OrderPaid(Event):
    """An order has been paid."""

    order_id: int


class SendReceipt(Task):
    """Sends the receipt of an order; tried three times."""

    order_id: int
    tries = 3

    async def handle(self, ctx: Context) -> str:
        """Send it and return its number."""
        ctx.log.info("sending the receipt of order %d", self.order_id)
        Diary.open().write(self.order_id, "receipt sent")
        return f"R-{self.order_id}"

    async def finish(self, result: str, ctx: Context) -> None:
        """Write down that it was sent: a step of its own, done even if the worker dies before."""
        Diary.open().write(self.order_id, f"receipt {result} confirmed")


class OnOrderPaid(Listener[OrderPaid]):
    """Has the receipt sent a little later."""

    async def handle(self, event: OrderPaid, ctx: Context) -> None:
        """Deliver the task."""
        Diary.open().write(event.order_id, "payment noticed")
        delay = OrderSettings.current().receipt_delay
        await SendReceipt(order_id=event.order_id).deliver(delay=delay)


async def pay(request: Request) -> JSONResponse:
    """Take a payment. When this has answered, the event is on the disk; or it says that it cannot
    be, and the payment is not taken."""
    order_id = request.path_params["order_id"]
    try:
        await OrderPaid(order_id=order_id).fire()
    except (QueueFull, StoreUnavailable) as error:
        return JSONResponse({"error": str(error)}, status_code=503, headers={"retry-after": "1"})
    except StoreFull as error:
        return JSONResponse({"error": str(error)}, status_code=507)
    Diary.open().write(order_id, "paid")
    return JSONResponse({"order": order_id, "paid": True}, status_code=202)


async def show(request: Request) -> JSONResponse:
    """Show what has happened to an order, oldest first."""
    order_id = request.path_params["order_id"]
    return JSONResponse({"order": order_id, "happened": Diary.open().read(order_id)})


plugin = Plugin(
    routes=[
        Route("/orders/{order_id:int}/pay", pay, methods=["POST"]),
        Route("/orders/{order_id:int}", show),
    ],
    tasks=[SendReceipt],
    events=[OrderPaid],
    listeners=[OnOrderPaid],
    settings=[OrderSettings],
)
