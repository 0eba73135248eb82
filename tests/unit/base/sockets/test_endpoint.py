"""Where listeners listen, and which of them cannot do so together."""

import pytest

from skep.base.errors import UsageError
from skep.base.sockets.endpoint import Endpoint, clashes, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("example.org:0", "example.org:0"),
        (":8080", "0.0.0.0:8080"),
        ("[::1]:443", "[::1]:443"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, address: str) -> None:
    assert parse(text, "http", "--listen").address == address


@pytest.mark.parametrize("text", ["80", "host", "::1:80", "host:99999", "host:x", "unix:", ""])
def test_what_is_no_address_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--listen is "):
        parse(text, "http", "--listen")


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "localhost:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("[::1]:80", "[0:0::1]:80", True),
        ("[::1]:80", "0.0.0.0:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "127.0.0.1:80", False),
    ],
)
def test_which_cannot_listen_together(one: str, other: str, clash: bool) -> None:
    pair = [parse(one, "a", "-"), parse(other, "b", "-")]
    assert bool(clashes(pair)) is clash
    assert pair[1].clashes(pair[0]) is clash


def test_tcp_and_udp_have_ports_of_their_own() -> None:
    assert not Endpoint("a", "h", 53, scheme="tcp").clashes(Endpoint("b", "h", 53, scheme="udp"))


def test_generations_share_a_socket_by_its_address_and_a_free_port_by_its_name() -> None:
    assert Endpoint("a", "h", 1).key == Endpoint("b", "h", 1).key
    assert Endpoint("a", "h", 0).key != Endpoint("b", "h", 0).key
    assert Endpoint("a", "h", 0).key == Endpoint("a", "h", 0).key
