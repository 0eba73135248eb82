"""uvicorn's protocol, with a short way for what clients ask all day.

A held poll of an ASGI application is a task with a dozen frames and the whole request: 21 kB, and
thousands are held. Here it is a callback, and a 304 is written without a task.
"""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from skep.base.sockets.host_check import HostCheck
from skep.configserver.client_api.notifications import HeldPoll
from skep.configserver.client_api.routes import ClientApi
from skep.configserver.http.errors import document
from skep.configserver.reading.watchers import Waiter
from skep.configserver.server_metrics import ServerMetrics

# All that a held poll keeps of its request.
_HELD: Any = {"method": "GET"}


@dataclass(frozen=True, slots=True)
class ShortWay:
    """What a request passes on the short way."""

    host: HostCheck
    clients: ClientApi
    metrics: ServerMetrics

    def begin(self, cycle: RequestResponseCycle) -> Response | HeldPoll | None:
        """Return the answer to a request, or the poll to hold; None if it has to go the long way,
        through the ASGI application."""
        if cycle.waiting_for_100_continue or cycle.flow.write_paused:
            return None
        scope: Any = cycle.scope
        if not self.host.is_meant(scope):
            return None
        try:
            return self.clients.begin(scope)
        except Exception:  # noqa: BLE001 - it fails again on the long way, which answers with 500
            return None


class Protocol(HttpToolsProtocol):
    """One connection. Its refusal of what is not HTTP is a JSON error like all others."""

    short_way: ShortWay

    _poll: HeldPoll | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Requests that had to queue go the long way: one would start the next, ever deeper.
        begun = self.short_way.begin(cycle) if cycle is self.cycle else None
        if begun is None:
            super()._start_asgi_task(cycle, app)
        elif isinstance(begun, Response):
            self._answer(cycle, cycle.scope["path"], begun)
        else:
            self._poll = begun
            path, cycle.scope, self.scope, self.headers = cycle.scope["path"], _HELD, _HELD, []
            begun.waiter.add_done_callback(partial(self._end_poll, cycle, path, begun))
            # Requests behind this one pause reading, but only who reads learns of a disconnect.
            self.loop.call_soon(self.flow.resume_reading)

    def _end_poll(self, cycle: RequestResponseCycle, path: str, poll: HeldPoll, _: Waiter) -> None:
        if self._poll is poll:
            self._poll = None
            poll.leave()
            self._answer(cycle, path, poll.answer())

    def _answer(self, cycle: RequestResponseCycle, path: str, answer: Response) -> None:
        self.short_way.metrics.count_answer(path, answer.status_code)
        content = [STATUS_LINE[answer.status_code]]
        for name, value in (*self.server_state.default_headers, *answer.raw_headers):
            content += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            content.append(b"connection: close\r\n")
        content += (b"\r\n", bytes(answer.body))
        self.transport.write(b"".join(content))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Discard what comes while a poll is held."""
        if self._poll is None:
            super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the poll: its client has gone."""
        if self._poll is not None:
            self._poll.leave()
            self._poll = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer and close the connection."""
        path = self.url.partition(b"?")[0][:200].decode("ascii", "replace")
        text = f"{msg} A URL may have 65535 bytes: ask for fewer namespaces at once."
        body = json.dumps(document(400, text, path)).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def protocol_with(short_way: ShortWay) -> type[Protocol]:
    """Return the protocol of a server; uvicorn makes one object of it for each connection."""
    return type("ServerProtocol", (Protocol,), {"short_way": short_way})
