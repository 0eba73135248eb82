"""The zygote: forks workers, and understudies of itself, on order. It never runs a handler."""

from collections.abc import Mapping

from skep.wire.channel import BlockingChannel
from skep.wire.messages import Change, Changed, Message
from skep.worker.birth.forker import Forker
from skep.worker.birth.loaded import LoadedGeneration


class ZygoteForker(Forker):
    """Forks workers, and understudies of itself."""

    def __init__(self, channel: BlockingChannel, generation: LoadedGeneration) -> None:
        super().__init__(channel)
        self._plan = generation.plan
        self._changes = generation.changes

    def take(self, order: Message) -> None:
        """Take other values for workers forked later. No callback of a plugin is called: nothing
        runs here."""
        if not isinstance(order, Change):
            return
        objection = self._changes.objection(order.values)
        if order.apply and not objection:
            self._changes.take(order.values)
        self._channel.send(Changed(order.number, order.apply, objection))

    def alone(self) -> Mapping[str, str] | None:
        return self._changes.environment() if self._plan.unforkable else None
