"""Hashes of passwords, by Argon2id."""

import asyncio
import functools
from typing import Any

# What OWASP recommends where memory is short: 19 MiB for each hash.
_MEMORY_KIB, _ROUNDS, _LANES = 19 * 1024, 2, 1


class Passwords:
    """Hashes and verifies in a thread, one at a time: a crowd that guesses takes the memory of one
    hash."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def hashed(self, password: str) -> str:
        """Return the hash of a password."""
        async with self._turn:
            return await asyncio.to_thread(hash_password, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Return whether the password is that of the hash. Without a hash the answer is no, and
        takes as long: the time does not show which names exist."""
        async with self._turn:
            return await asyncio.to_thread(_matches, password_hash, password)


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
