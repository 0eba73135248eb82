"""Notifies the service manager: sd_notify(3), as `Type=notify` and `notify-reload` want it.

READY=1 comes when the first generation serves, not before. A rollout is RELOADING=1 until its
outcome is known. As long as the supervisor's loop turns, it notifies the watchdog.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from skep.supervisor.processes.events import (
    Events,
    PhaseEntered,
    PlatformServing,
    PlatformStopping,
    RolloutBegan,
    RolloutReported,
)

_AGAIN = 0.02
KEYS = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})


class ServiceManager:
    """What has started us, if it wants to be notified; otherwise nothing is sent.

    `environment` is that of our start, with what it has set for us.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._interval = _watchdog(environment) if self._address else 0.0
        self._unsent: deque[bytes] = deque(maxlen=64)
        self._serving = False
        self._stopping = False

    def subscribe(self, events: Events) -> None:
        """Follow what happens to the platform."""
        if self._address:
            events.subscribe(PlatformServing, self._is_serving)
            events.subscribe(PlatformStopping, self._is_stopping)
            events.subscribe(RolloutBegan, self._began)
            events.subscribe(PhaseEntered, self._entered)
            events.subscribe(RolloutReported, self._reported)

    def watch(self) -> None:
        """Say from now on that the running loop turns, twice as often as it has to be."""
        if self._interval:
            if not self._unsent:
                self._tell(WATCHDOG="1")
            asyncio.get_running_loop().call_later(self._interval / 2, self.watch)

    def _is_serving(self, event: PlatformServing) -> None:
        self._serving = True
        urls = event.urls
        status = f"Serving at {urls['http']}." if "http" in urls else "Serving no port."
        self._tell(READY="1", STATUS=status)

    def _is_stopping(self, event: PlatformStopping) -> None:
        self._stopping = True
        if event.restart:
            self._tell(RELOADING="1", MONOTONIC_USEC=_now(), STATUS="Starting again.")
        else:
            self._tell(STOPPING="1", STATUS="Stopping: what is in flight finishes.")

    def _began(self, event: RolloutBegan) -> None:
        if self._serving and not self._stopping:
            self._tell(RELOADING="1", MONOTONIC_USEC=_now())
        self._entered(PhaseEntered(event.generation, event.request, "loading"))

    def _entered(self, event: PhaseEntered) -> None:
        if not self._stopping:
            self._tell(STATUS=f"Generation {event.generation} is {event.phase}.")

    def _reported(self, event: RolloutReported) -> None:
        if self._serving and not self._stopping:
            self._tell(READY="1", STATUS=event.report.sentence)
        elif not self._stopping:
            self._tell(STATUS=event.report.sentence)

    def _tell(self, **fields: str) -> None:
        lines = (f"{key}={' '.join(value.split())}" for key, value in fields.items())
        self._unsent.append("\n".join(lines).encode())
        self._send()

    def _send(self) -> None:
        """Send what there is, in order. While the queue of the other side is full it waits, the
        supervisor does not; a service manager that is gone is its own affair."""
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            while self._unsent:
                try:
                    sock.sendto(self._unsent[0], address)
                except BlockingIOError:
                    asyncio.get_running_loop().call_later(_AGAIN, self._send)
                    return
                except OSError:
                    self._unsent.clear()
                    return
                self._unsent.popleft()


def _watchdog(environment: Mapping[str, str]) -> float:
    mine = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
    with suppress(ValueError):
        return int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if mine else 0.0
    return 0.0


def _now() -> str:
    return str(time.monotonic_ns() // 1000)
