"""The file of accounts, sessions and passwords."""

import asyncio
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from skep.base.errors import ConfigError
from skep.pages.accounts import Accounts, check_name, check_password
from skep.pages.passwords import Passwords, hash_password
from skep.pages.refusals import PageRefused
from skep.pages.sessions import LIFETIME, PageSession, Sessions


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    with Accounts(tmp_path / "accounts.db") as accounts:
        yield accounts


def request(cookie: str = "") -> Request:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return Request({"type": "http", "scheme": "http", "path": "/", "headers": headers})


def cookie_of(sessions: Sessions, session: PageSession) -> str:
    response = Response()
    sessions.write(request(), response, session)
    return response.headers["set-cookie"]


def test_the_file_is_its_owner_s_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with Accounts(path) as accounts:
        accounts.create("ann", "hash", {"*": "admin"}, "ann")
        secret = accounts.secret()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Accounts(path) as accounts:
        assert accounts.secret() == secret
        ann = accounts.named("ANN")
        assert ann is not None
        assert (ann.name, ann.roles, accounts.password_hash(ann.id)) == (
            "ann",
            {"*": "admin"},
            "hash",
        )


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    path.write_text("not a database at all, but long enough to look at " * 40)
    with pytest.raises(ConfigError, match=r"accounts\.db"), Accounts(path):
        pass


def test_two_processes_make_one_first_account(tmp_path: Path) -> None:
    made: list[str] = []
    refused: list[int] = []

    def make(name: str) -> None:
        with Accounts(tmp_path / "accounts.db") as accounts:
            barrier.wait()
            try:
                made.append(accounts.create_first(name, "hash", {"*": "admin"}).name)
            except PageRefused as error:
                refused.append(error.status)

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=make, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), refused) == (1, [409])


def test_a_session_ends_with_the_password_the_roles_and_the_account(accounts: Accounts) -> None:
    sessions = Sessions(accounts, "/x")
    ann = accounts.create("ann", "hash", {"*": "read"}, "ann")
    acts: list[Callable[[], None]] = [
        lambda: accounts.set_password(ann.id, "other"),
        lambda: accounts.set_roles(ann.id, {"*": "edit"}),
        lambda: accounts.set_enabled(ann.id, enabled=False),
    ]
    for act in acts:
        known = accounts.by_id(ann.id)
        assert known is not None
        session = sessions.begin(known)
        assert sessions.account(session) == known
        act()
        assert sessions.account(session) is None


def test_a_cookie_is_signed_strict_and_ends(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(accounts, "/x")
    session = sessions.begin(accounts.create("ann", "hash", {"*": "read"}, "ann"))
    session.say("é" * 1000)
    header = cookie_of(sessions, session)
    assert {"HttpOnly", "SameSite=lax", "Path=/x"} <= set(header.split("; "))
    pair = header.partition(";")[0]
    assert len(header) < 4000
    found = sessions.read(request(pair))
    assert (found.id, found.account_id, found.flash) == (session.id, session.account_id, "é" * 300)
    assert sessions.read(request(pair[:-1] + ("A" if pair[-1] != "A" else "B"))).account_id == 0
    assert sessions.read(request("x=y")).account_id == 0
    assert Sessions(accounts, "/other").read(request(pair)).account_id == 0
    session.begun -= LIFETIME + 2
    old = cookie_of(sessions, session).partition(";")[0]
    assert sessions.read(request(old)).account_id == 0
    later = time.time() + LIFETIME + 2
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: later)
        assert sessions.read(request(pair)).account_id == 0
    sessions.end(found)
    assert sessions.read(request(pair)).account_id == 0


def test_names_and_passwords_that_are_too_weak_are_refused() -> None:
    for name in ("", " ann", "ann ", "a" * 65, "a\nb", "\x00"):
        with pytest.raises(PageRefused):
            check_name(name)
    for password in ("short", "a" * 1001, "ann is my name", "aaaaaaaaaaaa"):
        with pytest.raises(PageRefused):
            check_password("ann", password)
    check_password("ann", "correct horse battery")


async def verdicts() -> list[bool]:
    passwords, known = Passwords(), hash_password("correct horse")
    return [
        await passwords.matches(known, "correct horse"),
        await passwords.matches(known, "Correct horse"),
        await passwords.matches(None, "no account has this hash"),
        await passwords.matches("not a hash", "correct horse"),
    ]


def test_a_password_is_verified_and_a_stranger_never_fits() -> None:
    assert asyncio.run(verdicts()) == [True, False, False, False]
    assert hash_password("a").startswith("$argon2id$")
