"""The write client against the embedded server, and against what is none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.apollo.openapi import OpenApiClient
from tests.configserver import RunningConfigServer, running_config_server

AT = ("someAppId", "default", "application")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path) as running:
        yield running


def test_what_is_set_and_published_is_in_force(server: RunningConfigServer) -> None:
    with OpenApiClient(server.url + "/", server.token, env="PRO") as api:
        assert api.latest_release(*AT) is None
        api.set_item(*AT, "a", "1", "ann")
        api.set_item(*AT, "a", "2", "bob")
        first = api.publish(*AT, "first", "ann")
        api.set_item(*AT, "b", "3", "ann")
        assert api.latest_release(*AT) == first
        assert (first.name, first.configurations) == ("first", {"a": "2"})
        second = api.publish(*AT, "second", "ann")
        assert second.id > first.id
        assert api.latest_release(*AT) == second
    assert server.config().json()["configurations"] == {"a": "2", "b": "3"}
    (a, _) = server.write("GET", "").json()["items"]
    assert (a["dataChangeCreatedBy"], a["dataChangeLastModifiedBy"]) == ("ann", "bob")


@pytest.mark.parametrize("key", ["a/b", "a\\b", "a%2Fb", "a;b", "..", ".", "ключ ?#", "a+b", "???"])
def test_any_key_arrives_as_it_is_and_can_be_deleted(server: RunningConfigServer, key: str) -> None:
    server.open_api.set_item(*AT, key, "v", "ann")
    assert server.open_api.publish(*AT, "t", "ann").configurations == {key: "v"}
    server.open_api.delete_item(*AT, key, "ann")
    assert server.open_api.publish(*AT, "t", "ann").configurations == {}
    with pytest.raises(ConfigError, match="404"):
        server.open_api.delete_item(*AT, key, "ann")


def test_a_refusal_names_the_place_and_the_reason(server: RunningConfigServer) -> None:
    with OpenApiClient(server.url.replace("//", "//ann:pass@"), "wrong-token") as api:
        with pytest.raises(ConfigError) as refusal:
            api.publish(*AT, "t", "ann")
        text = str(refusal.value)
        assert f"POST {server.url}/openapi/v1/envs/DEV/apps/someAppId/" in text
        assert "401" in text
        assert "configserver/token" in text
        assert "ann:pass" not in text
        assert "wrong-token" not in text
    with pytest.raises(ConfigError, match=r"400: .*20001 characters"):
        server.open_api.set_item(*AT, "k", "v" * 20_001, "ann")


def test_credentials_in_the_url_do_not_replace_the_token(server: RunningConfigServer) -> None:
    with OpenApiClient(server.url.replace("//", "//ann:pass@"), server.token) as api:
        assert api.publish(*AT, "t", "ann").name == "t"


def test_a_proxy_for_the_way_out_is_not_asked(
    server: RunningConfigServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with OpenApiClient(server.url, server.token) as api:
        assert api.latest_release(*AT) is None


def test_a_server_out_of_reach_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        OpenApiClient(f"http://ann:pass@127.0.0.1:{port}", "token") as api,
        pytest.raises(ConfigError, match=rf"cannot be reached at http://127\.0\.0\.1:{port}/"),
    ):
        api.latest_release(*AT)


@pytest.mark.parametrize("url", ["config.example", "ftp://config.example", "http://x:port", ""])
def test_a_url_that_is_none_is_named(url: str) -> None:
    with OpenApiClient(url, "token") as api, pytest.raises(ConfigError, match="cannot be reached"):
        api.latest_release(*AT)


@pytest.mark.parametrize("token", ["a\nb", "töken", "a\0"])
def test_a_token_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as refusal:
        OpenApiClient("http://127.0.0.1:1", token)
    assert token not in str(refusal.value)


def test_what_is_no_text_is_refused(server: RunningConfigServer) -> None:
    for key, value in (("k", "\udcff"), ("\udcff", "v")):
        with pytest.raises(ConfigError, match="not Unicode"):
            server.open_api.set_item(*AT, key, value, "ann")


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Run a server that gives everybody this one answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "not an Apollo portal"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "not an Apollo portal"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"id": 1}', "not an Apollo portal"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\nbad\ngate\n", "502: bad gate"),
        (b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n", "500: it gives no reason"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "302"),
        (b"no http\r\n\r\n", "cannot be reached"),
        (  # D8: only one coding is undone
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n[]",
            "its Content-Encoding is 'gzip, gzip'; only gzip is accepted",
        ),
    ],
)
def test_what_is_no_portal_is_told(body: bytes, complaint: str) -> None:
    with (
        answering(body) as url,
        OpenApiClient(url, "token") as api,
        pytest.raises(ConfigError, match=complaint),
    ):
        api.publish(*AT, "t", "ann")
