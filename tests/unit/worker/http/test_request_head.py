"""The rules of a request's head, without a parser."""

import pytest

from skep.worker.http.request_head import (
    HttpRefusal,
    check_codings,
    check_handshake,
    check_hosts,
    check_version,
    is_host,
    origin_form,
    unknown_method,
    wants_websocket,
    with_host,
)

KEY = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
VERSION = (b"sec-websocket-version", b"13")


@pytest.mark.parametrize(
    ("version", "treated"), [("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1"), ("1.9", "1.1")]
)
def test_a_later_minor_version_is_treated_as_1_1(version: str, treated: str) -> None:
    assert check_version(version) == treated


@pytest.mark.parametrize(("version", "status"), [("0.9", 400), ("2.0", 505), ("9.9", 505)])
def test_another_major_version_is_refused(version: str, status: int) -> None:
    with pytest.raises(HttpRefusal) as refused:
        check_version(version)
    assert refused.value.status == status


def test_a_request_has_one_host_but_http_1_0_may_have_none() -> None:
    check_hosts("1.1", 1)
    check_hosts("1.0", 0)
    for version, hosts in (("1.1", 0), ("1.1", 2), ("1.0", 2)):
        with pytest.raises(HttpRefusal):
            check_hosts(version, hosts)


@pytest.mark.parametrize("value", [b"", b"shop", b"a.b:80", b"[::1]", b"[::1]:80", b"a%20b", b"a:"])
def test_values_of_host(value: bytes) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value", [b"a/b", b"a b", b"a@b", b"[::1", b"a:b", b"%zz", b"a\xff", b"a:1:2"]
)
def test_what_cannot_be_a_host(value: bytes) -> None:
    assert not is_host(value)


@pytest.mark.parametrize(
    ("codings", "status"),
    [(b"gzip, chunked", 501), (b"gzip", 400), (b"chunked, gzip", 400), (b"chunked,chunked", 400),
     (b"", 400), (b",chunked", 400)],
)  # fmt: skip
def test_a_body_whose_end_is_not_known_is_400_and_a_coding_that_is_not_known_501(
    codings: bytes, status: int
) -> None:
    check_codings("1.1", b" Chunked")
    with pytest.raises(HttpRefusal) as refused:
        check_codings("1.1", codings)
    assert refused.value.status == status


def test_targets_become_path_query_and_host() -> None:
    assert origin_form(b"GET", b"/a?b") == (b"/a?b", None)
    assert origin_form(b"OPTIONS", b"*") == (b"*", None)
    assert origin_form(b"GET", b"http://shop:80?b") == (b"/?b", b"shop:80")
    assert with_host([(b"a", b"b"), (b"host", b"x")], b"y") == [(b"host", b"y"), (b"a", b"b")]
    for target in (b"*", b"a", b"http://", b"http:///a", b"ftp://a/", b"/a#b", b"http://a b/"):
        with pytest.raises(HttpRefusal):
            origin_form(b"GET", target)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"FOO / HTTP/1.1\r\n", 501), (b"get", 501), (b"GET\t/", 400), (b"\x16\x03", 400),
     (b"PRI * HTTP/2.0\r\n", 505)],
)  # fmt: skip
def test_an_unknown_method_is_501_and_what_is_none_400(request_line: bytes, status: int) -> None:
    assert unknown_method(request_line).status == status


def test_an_offer_of_a_websocket_may_be_one_of_several_but_not_over_http_1_0() -> None:
    offer = [(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"h2c, WebSocket")]
    assert wants_websocket("1.1", offer)
    assert not wants_websocket("1.0", offer)
    assert not wants_websocket("1.1", offer[:1])
    assert not wants_websocket("1.1", [(b"connection", b"close"), offer[1]])


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        (b"POST", [KEY, VERSION], 400),
        (b"GET", [KEY, VERSION, (b"content-length", b"1")], 400),
        (b"GET", [KEY, VERSION, (b"transfer-encoding", b"chunked")], 400),
        (b"GET", [KEY], 400),
        (b"GET", [VERSION], 400),
        (b"GET", [KEY, KEY, VERSION], 400),
        (b"GET", [KEY, (b"sec-websocket-version", b"8")], 426),
    ],
)
def test_handshakes_that_are_refused(
    method: bytes, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    check_handshake(b"GET", [KEY, VERSION, (b"content-length", b"0")])
    with pytest.raises(HttpRefusal) as refused:
        check_handshake(method, headers)
    assert refused.value.status == status
