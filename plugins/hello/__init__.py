"""The smallest plugin: one route that answers with one setting."""

import os

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import Plugin, Settings, Worker


class HelloSettings(Settings):
    """`GREETING` comes from the config service, like every other key."""

    greeting: str = "Hello"


async def hello(request: Request) -> JSONResponse:
    """Name the worker that answers, so that a rollout can be watched from outside."""
    worker = Worker.current()
    return JSONResponse(
        {
            "greeting": HelloSettings.current().greeting,
            "generation": worker.generation,
            "worker": worker.slot,
            "pid": os.getpid(),
        }
    )


plugin = Plugin(routes=[Route("/", hello)], settings=[HelloSettings])
