"""What an author writes, as type checkers read it: `test_types.py` has mypy check it."""

from typing import Annotated, assert_type

from skep import Bytes, Str, Table


class Users(Table, rows=10, name="typed"):
    fd: int
    name: Str[32]
    nick: Annotated[str, 32]
    avatar: Bytes[1024] = b""


def read() -> str:
    row = Users.get("ann")
    assert row is not None
    assert_type(row.key, str)
    assert_type(row.fd, int)
    assert_type(row.name, str)
    assert_type(row.nick, str)
    assert_type(row.avatar, bytes)
    assert_type(Users.pop("ann"), Users | None)
    return ", ".join(row.name for row in Users.rows()) + Users.where(name="Ann")[0].name
