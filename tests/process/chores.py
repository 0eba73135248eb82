"""Tasks that write down what they do, for the workers of tests."""

from skep.api.context import Context
from skep.api.plugin import Plugin
from skep.api.task import Task


class Noop(Task):
    """Does nothing."""

    n: int

    async def handle(self, ctx: Context) -> None:
        pass


PLUGIN = Plugin(tasks=[Noop])
