"""A custom process whose inbox tests bind themselves."""

import sys

from skep import Process
from skep.api.processes.context import ProcessContext


class Echo(Process):
    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            sys.stdout.write(f"{message.body}\n")
            sys.stdout.flush()
            match message.body:
                case "hang":
                    await ctx.stopping.wait()
                case "count":
                    await message.reply("a part")
                    await ctx.stopping.wait()
                case _:
                    await message.reply({"echo": message.body})
