"""Hashes of passwords, by Argon2id."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from skep.pages.refusals import PageRefused

_P = ParamSpec("_P")
_T = TypeVar("_T")

# What OWASP recommends where memory is short: 19 MiB for each hash.
_MEMORY_KIB, _ROUNDS, _LANES = 19 * 1024, 2, 1
_MOST_WAITING = 50


class Passwords:
    """Hashes and verifies in a thread, one at a time: a crowd that guesses takes the memory of one
    hash. Raises PageRefused when too many wait."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """Return the hash of a password."""
        return await self._run(hash_password, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Return whether the password is that of the hash. Without a hash the answer is no, and
        takes as long: the time does not show which names exist."""
        return await self._run(_matches, password_hash, password)

    async def _run(self, act: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if self._waiting >= _MOST_WAITING:
            raise PageRefused(503, "Too many people sign in at once: try again in a minute.")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(act, *args, **kwargs)
        finally:
            self._waiting -= 1


def hash_password(password: str) -> str:
    """Return the hash of a password; that takes some tens of milliseconds."""
    return str(_hasher().hash(password))


def _matches(password_hash: str | None, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(password_hash or _stranger(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@functools.cache
def _hasher() -> Any:
    # Loaded at the first sign-in: a config server without visitors stays small.
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_ROUNDS, memory_cost=_MEMORY_KIB, parallelism=_LANES)


@functools.cache
def _stranger() -> str:
    return hash_password("no account has this hash")
