"""What the handlers of all APIs have at hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request

from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.writer_thread import WriterThread
from skep.configserver.http import requests
from skep.configserver.http.token_guard import TokenGuard
from skep.configserver.model.rights import Actor
from skep.configserver.reading.instance_book import InstanceBook

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EditingContext:
    """The desk, the thread that writes, the guard, and the notes on instances."""

    desk: EditingDesk
    writer: WriterThread
    guard: TokenGuard
    book: InstanceBook

    def operator(self, request: Request) -> Actor:
        """Return who asks, under the name of the person for whom it does. Raises TokenRefused and
        InvalidRequest."""
        return replace(self.guard.actor(request), name=requests.operator(request))

    async def write(self, act: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run an act of the desk in the thread that writes."""
        return await self.writer.run(act, *args, **kwargs)

    async def json_object(self, request: Request) -> dict[str, Any]:
        """Return the JSON object of a body. Raises InvalidRequest, and TokenRefused if the token
        ended while the body came, which may take hours."""
        found = await requests.json_object(request, self.desk.items.limits.body)
        self.guard.actor(request)
        return found
