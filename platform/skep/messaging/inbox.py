"""The inbox of a process: what reads the messages that wait in the kernel.

Processes of one name share the socket: each message goes to the first that reads. A message is read
when the process asks for it and not before, so that none is lost with a process that has enough to
do.
"""

import logging
import os
import select
import socket
import weakref
from collections.abc import Callable

from skep.messaging.address import InboxAddress
from skep.messaging.frame import TO_AN_INBOX, MalformedFrame, ReceivedFrame, receive
from skep.messaging.replies import ReplyWriter
from skep.messaging.waiting import Steps, Wait

log = logging.getLogger(__name__)


class Inbox:
    """The inbox `address`, whose socket this process was given; `largest` is the most bytes that a
    message may have. `refused(reason)` is called for what is not a message.

    `hold` makes the process one that is up. `stop` ends the messages: what waits then is for
    others.
    """

    def __init__(
        self,
        address: InboxAddress,
        sock: socket.socket,
        largest: int,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.address = address
        self._refused = refused
        self._writers: weakref.WeakSet[ReplyWriter] = weakref.WeakSet()
        self._warned = False
        self._sock = sock
        self._largest = largest
        self._lock = -1
        self._stopped = False
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # One descriptor that is ready for a message and for the stop.
        self._either = select.epoll()
        self._either.register(sock.fileno(), select.EPOLLIN)
        self._either.register(self._stop, select.EPOLLIN)

    def hold(self) -> None:
        """Be a process that is up, until `stop` or the end of this process. Raises OSError."""
        if self._lock < 0 and not self._stopped:
            self._lock = self.address.hold()

    def take(self) -> Steps[tuple[ReceivedFrame, ReplyWriter | None] | None]:
        """Return the next message, None after `stop`.

        What is not a message is dropped and counted.
        """
        while not self._stopped:
            try:
                frame = receive(self._sock, self._largest, TO_AN_INBOX)
            except (BlockingIOError, InterruptedError):
                pass
            except MalformedFrame as error:
                self._drop(str(error))
            else:
                if frame.replies is None:
                    return frame, None
                writer = ReplyWriter(frame.replies)
                self._writers.add(writer)
                return frame, writer
            # Also after what was dropped: a flood of it must not hold up an event loop.
            yield Wait(self._either.fileno(), is_writing=False)
        return None

    def stop(self) -> None:
        """Give out no more messages; may be called from any thread."""
        if self._stopped:
            return
        self._stopped = True
        os.eventfd_write(self._stop, 1)
        if self._lock >= 0:
            os.close(self._lock)

    def close(self) -> None:
        """Stop, and free everything, the reply ends of its messages too; nothing may wait for a
        message any more."""
        self.stop()
        if self._either.closed:
            return
        self._either.close()
        os.close(self._stop)
        for writer in list(self._writers):
            writer.close()
        self._sock.close()

    def _drop(self, why: str) -> None:
        self._refused("malformed")
        if not self._warned:
            self._warned = True
            log.warning(
                "%s has received something that is not a message (%s) and has dropped it. Only "
                "the platform's own functions can send to %s.",
                self.address.name, why, self.address.path,
            )  # fmt: skip
