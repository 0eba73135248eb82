"""Call authors' functions, plain or async."""

import inspect
from types import AsyncGeneratorType, GeneratorType
from typing import Any


async def completed(value: Any) -> Any:
    """Return the value of a call, awaited if it is awaitable.

    An `async def` behind a plain decorator looks like a plain function until its call returns a
    coroutine. Raises TypeError for a generator, which has not run.
    """
    while inspect.isawaitable(value):
        value = await value
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        name = value.__qualname__
        if isinstance(value, GeneratorType):
            value.close()
        raise TypeError(f"{name} returned a generator: it has a `yield`, so none of it has run.")
    return value
