"""How the client bears a server that misbehaves; the numbers are those of the fault catalogue."""

import asyncio
import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest

from skep.base.errors import ConfigError, UsageError
from skep.base.telemetry import Telemetry
from skep.config.apollo.client import Apollo
from skep.config.apollo.failover import Failover
from skep.config.apollo.server import ServerAccess, Timeouts
from skep.config.errors import (
    ApolloError,
    Broken,
    Declined,
    EmptyAnswer,
    Forbidden,
    Missing,
    NotApollo,
    Throttled,
    TooSlow,
    Unreachable,
    Unusable,
)
from skep.config.snapshots.snapshot import Release, Snapshot
from tests.faulty import (
    Behaviour,
    FaultyServer,
    TinyApollo,
    answer,
    close,
    cut,
    hang,
    late,
    listed,
    raw,
    released,
    reset,
    told,
    trickle,
)
from tests.packages import require
from tests.pulls import pull
from tests.support import wait_until, wait_until_async

T = TypeVar("T")
QUICK = Timeouts(connect=0.5, answer=0.3, hold=0.6, proxy=0.2)
GOOD = {"releaseKey": "K1", "configurations": {"a": "1"}}
PACKED = gzip.compress(json.dumps(GOOD).encode())


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


@pytest.fixture
def apollo_server() -> Iterator[TinyApollo]:
    with TinyApollo() as running:
        yield running


def _url(server: FaultyServer | str) -> str:
    return server if isinstance(server, str) else server.url


def client(url: str, *namespaces: str) -> Apollo:
    return Apollo(Failover([url]), "orders", "blue", namespaces)


def use(
    server: FaultyServer | Failover | str,
    act: Callable[[Apollo], Awaitable[T]],
    *namespaces: str,
    timeouts: Timeouts = Timeouts(),  # noqa: B008
    **more: Any,
) -> T:
    """Run `act` with a client of the server."""

    async def main() -> T:
        if isinstance(server, Failover):
            servers = server
        else:
            servers = Failover([_url(server)], access=ServerAccess(timeouts))
        apollo = Apollo(servers, "orders", "blue", namespaces or ("application",), **more)
        try:
            return await act(apollo)
        finally:
            await apollo.close()

    return asyncio.run(main())


async def pull_twice(apollo: Apollo) -> tuple[Snapshot, Snapshot]:
    return await pull(apollo), await pull(apollo)


async def poll(apollo: Apollo) -> dict[str, int]:
    return await apollo.changes()


def failure(
    server: FaultyServer | str, act: Callable[[Apollo], Awaitable[object]] = pull, **more: Any
) -> ApolloError:
    """Return how it fails; every failure is one line and names the server."""
    with pytest.raises(ApolloError) as caught:
        use(server, act, **more)
    text = str(caught.value)
    assert "\n" not in text
    assert (server if isinstance(server, str) else server.url).rpartition("@")[2] in text
    return caught.value


# What is asked


def test_a_pull_asks_for_each_namespace_and_gives_them_in_order(server: FaultyServer) -> None:
    server.script("/configs/orders/blue/b", late(0.05, released("KB", b="2")))
    server.script("/configs/orders/blue/a", released("KA", a="1"))
    server.script("/configs/orders/blue/c", released("KC", c="3"))
    snapshot = use(server, pull, "b", "a.properties", "c")
    assert snapshot.release_keys() == {"b": "KB", "a": "KA", "c": "KC"}
    assert list(snapshot.release_keys()) == ["b", "a", "c"]
    assert snapshot.values() == {"a": "1", "b": "2", "c": "3"}


def test_a_second_pull_sends_the_release_keys_and_a_full_one_does_not(
    server: FaultyServer,
) -> None:
    server.script("/configs/", released("K5+K3", a="1"), answer(304), released("K6", a="2"))

    async def act(apollo: Apollo) -> list[str]:
        pulls = [await pull(apollo), await pull(apollo), await pull(apollo, full=True)]
        return [one.values()["a"] for one in pulls]

    assert use(server, act) == ["1", "1", "2"]
    targets = [request.target for request in server.requests]
    assert targets[1] == "/configs/orders/blue/application?releaseKey=K5%2BK3&ip=127.0.0.1"
    assert targets[0] == targets[2] == "/configs/orders/blue/application?ip=127.0.0.1"


def test_names_are_escaped_and_a_path_in_front_is_kept(server: FaultyServer) -> None:
    server.script("/", released("K1"))
    use(server.url + "/apollo/", pull, "a b/ü+c")
    target = server.requests[0].target.partition("?")[0]
    assert target == "/apollo/configs/orders/blue/a%20b%2F%C3%BC%2Bc"


def test_a_poll_asks_for_all_namespaces_and_sends_what_was_confirmed(
    server: FaultyServer,
) -> None:
    server.script("/notifications/v2", told(a=7))

    async def act(apollo: Apollo) -> None:
        news = await apollo.changes()
        apollo.confirm(news)
        await apollo.changes()

    use(server, act, "a", "b")
    first, second = server.requests
    assert first.query["appId"] == "orders"
    assert first.query["cluster"] == "blue"
    assert first.ids == {"a": -1, "b": -1}
    assert second.ids == {"a": 7, "b": -1}


def test_what_was_polled_but_not_confirmed_is_told_again(server: FaultyServer) -> None:
    server.script("/notifications/v2", told(application=7))

    async def act(apollo: Apollo) -> list[dict[str, int]]:
        return [await apollo.changes(), await apollo.changes()]

    assert use(server, act) == [{"application": 7}] * 2


def test_credentials_in_the_url_are_used_and_never_shown(server: FaultyServer) -> None:
    server.script("/configs/", answer(401))
    url = server.url.replace("://", "://op%40corp:s3:cr%3At@")
    assert client(url, "a").url == server.url
    text = str(failure(url))
    assert server.requests[0].headers["authorization"] == "Basic b3BAY29ycDpzMzpjcjp0"
    assert "cr:t" not in text
    assert "cr%3At" not in text
    assert "corp" not in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://u:s3cret@h",
        "http://",
        "http://u:s3cret@h:99999",
        "http://h/?a=1",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="makes no sense") as caught:
        client(url, "a")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("namespaces", [[], ["a", ""], ["a", "A"], ["a", "a.properties"]])
def test_namespaces_that_make_no_sense_are_refused(namespaces: list[str]) -> None:
    with pytest.raises(UsageError, match="namespace"):
        client("http://h", *namespaces)


def test_each_pull_is_told_with_its_outcome(server: FaultyServer) -> None:
    server.script("/configs/", released("K1"), answer(304), answer(503))
    telemetry = Telemetry()
    points: list[dict[str, Any]] = []
    telemetry.subscribe("config.pull", points.append)

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        await pull(apollo)
        with pytest.raises(Broken):
            await pull(apollo)

    use(server, act, telemetry=telemetry)
    assert [(p["namespace"], p["outcome"], p["reason"]) for p in points] == [
        ("application", "changed", ""),
        ("application", "unchanged", ""),
        ("application", "error", "http_5xx"),
    ]
    assert all(p["seconds"] > 0 for p in points)


def test_each_notification_is_told(server: FaultyServer) -> None:
    server.script("/notifications/v2", told(a=1, stranger=2))
    telemetry = Telemetry()
    points: list[dict[str, Any]] = []
    telemetry.subscribe("config.notification", points.append)
    use(server, poll, "a", "b", telemetry=telemetry)
    assert points == [{"namespace": "a"}]


def test_a_server_in_trouble_is_not_asked_for_everything_at_once(server: FaultyServer) -> None:
    server.script("/configs/", answer(401))
    assert failure(server, namespaces_pull(20)).reason == "auth"
    assert len(server.requests) == 1


def namespaces_pull(n: int) -> Callable[[Apollo], Awaitable[Snapshot]]:
    async def act(apollo: Apollo) -> Snapshot:
        many = [f"n{i}" for i in range(n)]
        other = client(apollo.url, *many)
        try:
            return await pull(other)
        finally:
            await other.close()

    return act


def test_one_namespace_that_fails_does_not_hold_back_the_others(server: FaultyServer) -> None:
    """B2."""
    # Given a snapshot of two namespaces
    server.script("/configs/orders/blue/a", released("A1", a="1"), released("A2", a="2"))
    server.script("/configs/orders/blue/b", released("B1"), answer(500), released("B2"))

    async def act(apollo: Apollo) -> None:
        await apollo.pull()
        # When one of them fails, the other has its new release
        found = (await apollo.pull()).found
        assert isinstance(found["a"], Release)
        assert found["a"].release_key == "A2"
        assert isinstance(found["b"], Broken)
        # Then the next pull compares each with what was pulled of it
        await apollo.pull()

    use(server, act, "a", "b")
    for name, keys in {"a": [None, "A1", "A2"], "b": [None, "B1", "B1"]}.items():
        asked = server.asked(f"/configs/orders/blue/{name}")
        assert [request.query.get("releaseKey") for request in asked] == keys


@pytest.mark.parametrize("status", [400, 404])
def test_a_first_namespace_that_is_not_there_proves_that_the_server_is_well(
    server: FaultyServer, status: int
) -> None:
    """B2."""
    server.script("/configs/orders/blue/a", answer(status))
    server.script("/configs/orders/blue/b", released("B1", b="1"))
    found = use(server, lambda apollo: apollo.pull(), "a", "b").found
    assert isinstance(found["a"], ApolloError)
    assert isinstance(found["b"], Release)


def test_when_there_is_no_release_at_all_what_may_pass_is_why(server: FaultyServer) -> None:
    """B2."""
    server.script("/configs/orders/blue/a", answer(404))
    server.script("/configs/orders/blue/b", answer(503))
    with pytest.raises(Broken):
        use(server, lambda apollo: apollo.pull(), "a", "b")


def test_a_first_namespace_that_always_fails_is_not_asked_for_first_for_ever(
    server: FaultyServer,
) -> None:
    """B2."""
    server.script("/configs/orders/blue/a", answer(403))
    server.script("/configs/orders/blue/b", released("B1", b="1"))

    async def act(apollo: Apollo) -> Mapping[str, Release | ApolloError]:
        with pytest.raises(Forbidden):
            await apollo.pull()
        return (await apollo.pull()).found

    found = use(server, act, "a", "b")
    assert isinstance(found["a"], Forbidden)
    assert isinstance(found["b"], Release)


# The network


def test_nobody_listens() -> None:
    """F03."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        error = failure(url)
    assert isinstance(error, Unreachable)
    assert error.reason == "connect"
    assert "Connection refused" in str(error)


def test_a_name_that_does_not_exist() -> None:
    """F03."""
    assert isinstance(failure("http://nowhere.invalid"), Unreachable)


@pytest.mark.parametrize("behaviour", [reset(), reset(b"HTTP/1.1 200 OK\r\nContent-Le"), close])
def test_the_connection_breaks_before_an_answer(server: FaultyServer, behaviour: Behaviour) -> None:
    """F03."""
    server.script("/configs/", behaviour)
    assert failure(server).reason == "connect"


def test_the_connection_breaks_in_the_middle_of_an_answer(server: FaultyServer) -> None:
    """F03."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"
    server.script("/configs/", late(0.0, reset(head)))
    assert failure(server).reason in ("connect", "decode")


def test_a_server_that_never_answers(server: FaultyServer) -> None:
    """F04."""
    server.script("/configs/", hang)
    error = failure(server, timeouts=QUICK)
    assert isinstance(error, TooSlow)
    assert error.reason == "timeout"
    assert "within 0.3 s" in str(error)


def test_a_poll_that_is_never_answered(server: FaultyServer) -> None:
    """F04."""
    server.script("/notifications/v2", hang)
    assert "within 0.6 s" in str(failure(server, poll, timeouts=QUICK))


def test_an_answer_that_drips_is_given_up_as_a_whole(server: FaultyServer) -> None:
    """F05."""
    server.script("/configs/", trickle(json.dumps(GOOD)))
    assert failure(server, timeouts=QUICK).reason == "timeout"


def test_the_answer_to_a_poll_may_not_drip_for_as_long_as_a_poll_may_be_held(
    server: FaultyServer,
) -> None:
    """F05."""
    server.script("/notifications/v2", trickle("[]"))
    patient = Timeouts(answer=0.2, hold=3600.0)
    assert failure(server, poll, timeouts=patient).reason == "timeout"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_the_server_fails(server: FaultyServer, status: int) -> None:
    """F06."""
    server.script("/configs/", released("K1", a="1"), answer(status, "<html>oops"), answer(304))

    async def act(apollo: Apollo) -> Snapshot:
        await pull(apollo)
        with pytest.raises(Broken, match=f"HTTP {status}") as caught:
            await pull(apollo)
        assert caught.value.reason == "http_5xx"
        return await pull(apollo)

    assert use(server, act).values() == {"a": "1"}


def test_the_poll_fails(server: FaultyServer) -> None:
    """F07."""
    server.script("/notifications/v2", answer(500))
    assert failure(server, poll).reason == "http_5xx"


@pytest.mark.parametrize("behaviour", [answer(502), answer(504), close, reset()])
def test_a_proxy_that_ends_a_held_poll_says_that_nothing_changed(
    server: FaultyServer, behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    """F08."""
    server.script("/notifications/v2", late(0.25, behaviour))

    async def act(apollo: Apollo) -> list[dict[str, int]]:
        return [await apollo.changes(), await apollo.changes()]

    assert use(server, act, timeouts=Timeouts(proxy=0.2)) == [{}, {}]
    assert caplog.text.count("had held the poll") == 1


def test_who_takes_up_a_poll_that_was_lost_is_told_no_ids(server: FaultyServer) -> None:
    """F08, F34."""
    server.script("/notifications/v2", told(application=7), late(0.25, close), answer(304))

    async def act(apollo: Apollo) -> None:
        apollo.confirm(await apollo.changes())
        await apollo.changes()
        await apollo.changes()

    use(server, act, timeouts=Timeouts(proxy=0.2))
    assert [request.ids["application"] for request in server.requests] == [-1, 7, -1]


def test_a_poll_that_is_lost_soon_is_a_failure_and_not_sent_again_by_itself(
    server: FaultyServer,
) -> None:
    """F34."""
    server.script("/notifications/v2", close)
    assert failure(server, poll).reason == "connect"
    assert len(server.requests) == 1


def test_the_same_status_at_once_is_a_failure(server: FaultyServer) -> None:
    """F08."""
    server.script("/notifications/v2", answer(504))
    assert failure(server, poll, timeouts=Timeouts(proxy=25.0)).reason == "http_5xx"


# Answers


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(body='{"releaseKey": "K2", "configurations": {"a"'),
        cut(json.dumps(GOOD)),
        cut('{"releaseKey": "K2"'),
        answer(body=""),
        answer(body="\x00"),
        answer(body=PACKED[:-20], headers={"Content-Encoding": "gzip"}),
        answer(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", close=True),
    ],
    ids=["json", "whole but short", "part", "empty", "nul", "half gzip", "no gzip", "chunks"],
)
def test_a_damaged_answer_is_a_failure(server: FaultyServer, behaviour: Behaviour) -> None:
    """F09."""
    server.script("/configs/", behaviour)
    error = failure(server)
    assert isinstance(error, NotApollo)
    assert error.reason == "decode"


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(body="<html>Please log in", headers={"Content-Type": "text/html"}),
        answer(body="true", headers={"Content-Type": "text/html; charset=utf-8"}),
        answer(204),
        answer(302, headers={"Location": "http://u:s3cret@login/"}),
        answer(201, GOOD),
    ],
)
def test_an_answer_of_somebody_else_is_called_that(
    server: FaultyServer, behaviour: Behaviour
) -> None:
    """F10."""
    server.script("/", behaviour)
    for act in (pull, poll):
        error = failure(server, act)
        assert "gave no Apollo answer" in str(error)
        assert "s3cret" not in str(error)
        assert error.reason == "decode"


def test_what_is_not_even_http_is_a_failure(server: FaultyServer) -> None:
    """F10."""
    server.script("/", raw(b"SSH-2.0-OpenSSH_9.2\r\n", close=True))
    assert isinstance(failure(server), ApolloError)


@pytest.mark.parametrize("configurations", [None, [], "a=1", {"a": 1}, {"a": True}, {"a": {}}])
def test_wrong_types_refuse_the_whole_answer(server: FaultyServer, configurations: object) -> None:
    """F11."""
    server.script("/configs/", answer(body={"releaseKey": "K1", "configurations": configurations}))
    assert failure(server).reason == "decode"


def test_a_null_is_an_absent_key(server: FaultyServer) -> None:
    """F11."""
    body = {"releaseKey": "K1", "configurations": {"a": None, "b": "2"}}
    server.script("/configs/", answer(body=body))
    assert use(server, pull).values() == {"b": "2"}


@pytest.mark.parametrize("body", [{}, {"releaseKey": "K2"}])
def test_an_answer_without_configurations_is_not_an_empty_config(
    server: FaultyServer, body: object
) -> None:
    """F12."""
    server.script("/configs/", released("K1", a="1"), answer(body=body), answer(304))

    async def act(apollo: Apollo) -> Snapshot:
        await pull(apollo)
        with pytest.raises(EmptyAnswer) as caught:
            await pull(apollo)
        assert caught.value.reason == "empty"
        return await pull(apollo)

    assert use(server, act).values() == {"a": "1"}


def incremental(kind: str = "MODIFIED", sync: str = "IncrementalSync") -> Behaviour:
    change = {"key": "a", "newValue": "2", "configurationChangeType": kind}
    return answer(
        body={"releaseKey": "K2", "configSyncType": sync, "configurationChanges": [change]}
    )


def test_an_incremental_answer_is_applied_to_what_we_have(server: FaultyServer) -> None:
    """F13."""
    server.script("/configs/", released("K1", a="1", b="1"), incremental())
    _, second = use(server, pull_twice)
    assert second.values() == {"a": "2", "b": "1"}
    assert second.release_keys() == {"application": "K2"}


@pytest.mark.parametrize(
    "odd", [incremental("RENAMED"), incremental(sync="QuantumSync")], ids=["f13", "f14"]
)
def test_what_cannot_be_applied_is_asked_for_in_full(server: FaultyServer, odd: Behaviour) -> None:
    """F13, F14."""
    server.script("/configs/", released("K1", a="1"), odd, released("K2", a="3"))
    _, second = use(server, pull_twice)
    assert second.values() == {"a": "3"}
    assert [r.query.get("releaseKey") for r in server.requests] == [None, "K1", None]


def test_an_incremental_answer_to_who_has_nothing_is_a_failure(server: FaultyServer) -> None:
    """F13."""
    server.script("/configs/", incremental())
    assert failure(server).reason == "decode"
    assert len(server.requests) == 1


def test_a_type_that_stays_unknown_is_a_failure_that_changes_nothing(
    server: FaultyServer,
) -> None:
    """F14."""
    odd = incremental(sync="QuantumSync")
    server.script("/configs/", released("K1", a="1"), odd, odd, answer(304))

    async def act(apollo: Apollo) -> Snapshot:
        await pull(apollo)
        with pytest.raises(NotApollo, match="QuantumSync"):
            await pull(apollo)
        return await pull(apollo)

    assert use(server, act).values() == {"a": "1"}


def test_not_modified_for_who_has_nothing_is_a_failure(server: FaultyServer) -> None:
    """F15."""
    server.script("/configs/", answer(304))
    error = failure(server)
    assert "HTTP 304" in str(error)
    assert error.reason == "decode"


def test_an_id_whose_release_never_comes_is_believed_after_a_few_pulls(
    server: FaultyServer,
) -> None:
    """F16."""
    # Given a node that notifies, while another answers the pulls with what was before
    server.script("/configs/", released("K1"), answer(304))
    server.script("/notifications/v2", told(application=1), told(application=2))

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        apollo.confirm(await apollo.changes())
        # When it is asked again and again
        for _ in range(4):
            news = await apollo.changes()
            await pull(apollo)
            assert apollo.confirm(news) is False

    use(server, act)
    # Then the id is not advanced before the third pull that shows nothing
    sent = [request.ids["application"] for request in server.asked("/notifications")]
    assert sent == [-1, 1, 1, 1, 2]


def test_an_id_that_goes_backwards_is_adopted(server: FaultyServer) -> None:
    """F19."""
    server.script("/notifications/v2", told(application=500), told(application=3), answer(304))
    server.script("/configs/", released("K1"), released("K0"))

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        apollo.confirm(await apollo.changes())
        news = await apollo.changes()
        await pull(apollo)
        assert apollo.confirm(news) is True
        await apollo.changes()

    use(server, act)
    sent = [request.ids["application"] for request in server.asked("/notifications")]
    assert sent == [-1, 500, 3]


def test_names_we_do_not_know_other_spellings_and_repetitions(server: FaultyServer) -> None:
    """F20."""
    entries = [("APPLICATION", 3), ("application.properties", 5), ("stranger", 9)]
    body = [{"namespaceName": n, "notificationId": i} for n, i in entries]
    server.script("/notifications/v2", answer(body=body))
    assert use(server, poll) == {"application": 5}


def test_an_empty_list_is_no_change(server: FaultyServer) -> None:
    """F20."""
    server.script("/notifications/v2", answer(body=[]))
    assert use(server, poll) == {}


def test_malformed_notifications_are_a_failure(server: FaultyServer) -> None:
    """F20."""
    server.script("/notifications/v2", answer(body={"namespaceName": "application"}))
    assert failure(server, poll).reason == "decode"


def test_a_rollback_brings_back_the_older_release(server: FaultyServer) -> None:
    """F23."""
    old, new = released("K1", a="1"), released("K2", a="2", b="2")
    server.script("/configs/", old, new, old)

    async def act(apollo: Apollo) -> list[dict[str, str]]:
        return [(await pull(apollo)).values() for _ in range(3)]

    assert use(server, act) == [{"a": "1"}, {"a": "2", "b": "2"}, {"a": "1"}]


def test_whoever_is_refused_is_told_so(server: FaultyServer) -> None:
    """F26."""
    for status in (401, 403):
        server.script("/", answer(status))
        error = failure(server)
        assert isinstance(error, Forbidden)
        assert error.reason == "auth"
        assert failure(server, poll).reason == "auth"


def test_a_namespace_without_a_release_is_named_with_its_whole_address(
    server: FaultyServer,
) -> None:
    server.script("/configs/", answer(404, "whatever"))
    error = failure(server)
    assert isinstance(error, Missing)
    assert error.reason == "missing"
    for name in ("application", "orders", "blue", "publish one"):
        assert name in str(error)


@pytest.mark.parametrize("status", [400, 414, 431])
def test_a_poll_that_is_too_long_is_split_until_it_is_not(
    server: FaultyServer, status: int
) -> None:
    """F30."""
    # Given a proxy that takes no request line longer than 2000 bytes
    names = [f"department.team.namespace-{n}" for n in range(60)]

    async def strict(request: Any, writer: asyncio.StreamWriter) -> None:
        if len(request.target) > 2_000:
            return await answer(status)(request, writer)
        if names[59] in request.ids:
            while {n for r in server.requests if len(r.target) <= 2_000 for n in r.ids} != set(
                names
            ):
                await asyncio.sleep(0.01)
            return await told(**{names[59]: 8})(request, writer)
        await hang(request, writer)

    server.script("/notifications/v2", strict)

    async def act(apollo: Apollo) -> dict[str, int]:
        await apollo.changes()
        server.requests.clear()
        return await apollo.changes()

    # When / Then all are asked for in shorter ones, the next time at once
    assert use(server, act, *names) == {names[59]: 8}
    assert max(len(request.target) for request in server.requests) <= 2_000


def test_polls_are_split_before_they_reach_what_every_server_takes(
    server: FaultyServer,
) -> None:
    """F30."""
    names = [f"department.team.namespace-{n}" for n in range(150)]
    server.script("/notifications/v2", hang)

    async def act(apollo: Apollo) -> None:
        polling = asyncio.ensure_future(apollo.changes())
        await wait_until_async(lambda: {n for r in server.requests for n in r.ids} == set(names))
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)

    use(server, act, *names)
    assert len(server.requests) > 1
    assert max(len(request.target) for request in server.requests) < 8_000


def test_a_short_poll_that_is_declined_is_not_sent_again(server: FaultyServer) -> None:
    """F30."""
    server.script("/notifications/v2", answer(400))
    error = failure(server, poll)
    assert isinstance(error, Declined)
    assert error.reason == "http_4xx"
    assert len(server.requests) == 1


def test_what_is_published_between_the_pull_and_the_first_poll_is_told(
    apollo_server: TinyApollo,
) -> None:
    """F36."""
    apollo_server.publish(a="1")

    async def act(apollo: Apollo) -> tuple[dict[str, int], Snapshot]:
        await pull(apollo)
        apollo_server.publish(a="2")
        return await apollo.changes(), await pull(apollo)

    news, snapshot = use(apollo_server, act)
    assert list(news) == ["application"]
    assert snapshot.values() == {"a": "2"}


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(body=PACKED, headers={"Content-Encoding": "gzip"}),
        raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"1\r\n%c\r\n" % byte for byte in json.dumps(GOOD).encode())
            + b"0\r\n\r\n"
        ),
        answer(body=GOOD, version="1.0"),
        raw(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(GOOD).encode(), close=True),
    ],
    ids=["gzip", "chunked", "http/1.0", "http/1.0 without length or type"],
)
def test_what_proxies_do_to_a_good_answer_is_understood(
    server: FaultyServer, behaviour: Behaviour
) -> None:
    """F43."""
    server.script("/configs/", behaviour)
    assert use(server, pull).values() == {"a": "1"}


@pytest.mark.parametrize("behaviour", [close, reset()])
def test_a_pooled_connection_that_was_closed_costs_one_more_try(
    server: FaultyServer, behaviour: Behaviour
) -> None:
    """F43."""
    server.script("/configs/", released("K1", a="1"), behaviour, answer(304))
    _, second = use(server, pull_twice)
    assert second.values() == {"a": "1"}
    assert len(server.requests) == 3


def test_a_server_that_always_closes_is_not_tried_for_ever(server: FaultyServer) -> None:
    """F43."""
    server.script("/configs/", close)
    failure(server)
    assert len(server.requests) == 2


def test_bytes_that_are_no_utf_8_are_a_failure(server: FaultyServer) -> None:
    """F44."""
    server.script("/configs/", answer(body=b'{"releaseKey":"K","configurations":{"a":"\xff"}}'))
    assert failure(server).reason == "decode"


def test_a_byte_order_mark_is_tolerated(server: FaultyServer) -> None:
    """F44."""
    server.script("/configs/", answer(body=b"\xef\xbb\xbf" + json.dumps(GOOD).encode()))
    assert use(server, pull).values() == {"a": "1"}


@pytest.mark.parametrize("value", ["\0", "\ud800", "x" * 10_000_000], ids=["nul", "half", "10 MB"])
def test_a_value_no_process_can_have_is_pulled_and_refused_by_name(
    server: FaultyServer, value: str
) -> None:
    """F44."""
    server.script(
        "/configs/", answer(body={"releaseKey": "K", "configurations": {"big.one": value}})
    )
    with pytest.raises(Unusable, match=r"'big.one' of namespace application"):
        use(server, pull)


def test_an_answer_that_unfolds_without_end_is_given_up(server: FaultyServer) -> None:
    """F44."""
    bomb = gzip.compress(b" " * (40 * 1024 * 1024), compresslevel=1)
    server.script("/configs/", answer(body=bomb, headers={"Content-Encoding": "gzip"}))
    assert "is over" in str(failure(server))


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "gzip, identity"])
def test_an_answer_with_another_coding_than_one_gzip_is_not_unfolded(
    server: FaultyServer, coding: str
) -> None:
    """D8."""
    twice = gzip.compress(gzip.compress(bytes(64 * 1024 * 1024)))
    server.script("/configs/", answer(body=twice, headers={"Content-Encoding": coding}))
    assert f"its Content-Encoding is '{coding}'" in str(failure(server))
    assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("media_type", ["text/plain", "text/html; charset=utf-8", "x/y", ""])
def test_what_an_answer_is_decides_its_shape_and_not_its_media_type(
    server: FaultyServer, media_type: str
) -> None:
    """C2."""
    server.script("/configs/", answer(body=GOOD, headers={"Content-Type": media_type}))
    body = [{"namespaceName": "application", "notificationId": 7}]
    server.script("/notifications", answer(body=body, headers={"Content-Type": media_type}))
    assert use(server, pull).values() == {"a": "1"}
    assert use(server, poll) == {"application": 7}


def test_the_media_type_explains_an_answer_of_the_wrong_shape(server: FaultyServer) -> None:
    """C2."""
    server.script("/", answer(body="<html>Log in", headers={"Content-Type": "text/html"}))
    for act in (pull, poll):
        assert "(its Content-Type is 'text/html')" in str(failure(server, act))


def test_a_server_may_hold_for_as_short_as_it_likes(server: FaultyServer) -> None:
    """F48."""
    server.script("/notifications/v2", answer(304))
    assert use(server, poll) == {}


def test_a_poll_may_be_held_longer_than_any_answer_may_take(server: FaultyServer) -> None:
    """F48."""
    server.script("/notifications/v2", late(0.5, told(application=7)))
    assert use(server, poll, timeouts=Timeouts(answer=0.2)) == {"application": 7}
    assert Timeouts().hold >= 90 + 30


def test_a_cancelled_poll_leaves_no_connection_and_no_task(apollo_server: TinyApollo) -> None:
    """F49."""

    async def act(apollo: Apollo) -> None:
        polling = asyncio.ensure_future(apollo.changes())
        while not apollo_server.requests:
            await asyncio.sleep(0)
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
        assert asyncio.all_tasks() == {asyncio.current_task()}

    use(apollo_server, act)
    wait_until(lambda: not apollo_server.connections)


def test_a_closed_client_may_be_used_again(server: FaultyServer) -> None:
    server.script("/configs/", released("K1", a="1"), answer(304))

    async def act(apollo: Apollo) -> Snapshot:
        await pull(apollo)
        await apollo.close()
        return await pull(apollo)

    assert use(server, act).values() == {"a": "1"}


def test_a_proxy_from_the_environment_is_not_asked_about_this_machine(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script("/configs/", released("K1", a="1"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert use(server, pull).values() == {"a": "1"}
    assert quote("/configs/") in server.requests[0].target


def test_a_proxy_from_the_environment_is_used_for_other_machines(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script("http://config.invalid/", released("K1", a="1"))
    server.script("/", released("K1", a="1"))
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert use("http://config.invalid", pull).values() == {"a": "1"}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("", 0), ("soon", 0), ("-5", 0), ("nan", 0), ("Wed, 01 Jan 2020 00:00:00 GMT", 0)],
)
def test_the_time_a_server_wants_to_be_left_alone_is_taken_from_its_answer(
    server: FaultyServer, status: int, header: str, seconds: float
) -> None:
    """F31."""
    server.script("/configs/", answer(status, headers={"Retry-After": header}))
    error = failure(server)
    assert isinstance(error, Throttled if status == 429 else Broken)
    assert error.pause == seconds
    assert not error.definite


def test_a_date_after_which_to_ask_again_is_understood(server: FaultyServer) -> None:
    """F31."""
    date = formatdate(time.time() + 100, usegmt=True)
    server.script("/configs/", answer(429, headers={"Retry-After": date}))
    assert failure(server).pause == pytest.approx(100, abs=10)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("whole", [True, False])
def test_a_redirect_to_the_same_server_is_followed(
    server: FaultyServer, status: int, whole: bool
) -> None:
    """F42."""
    path = "/new/configs/orders/blue/application?ip=1.1.1.1"
    location = {"Location": f"{server.url}{path}" if whole else path}
    server.script("/configs/", answer(status, headers=location))
    server.script("/new/configs/", released("K1", a="1"))
    assert use(server, pull).values() == {"a": "1"}
    assert server.requests[1].target == path


@pytest.mark.parametrize(
    "location", ["http://localhost:{port}/x", "http://127.0.0.1:9/x", "ftp://127.0.0.1/x", "//h/x"]
)
def test_a_redirect_elsewhere_is_not(server: FaultyServer, location: str) -> None:
    """F42."""
    location = location.format(port=server.port)
    server.script("/configs/", answer(302, headers={"Location": location}))
    assert "redirects to" in str(failure(server))
    assert len(server.requests) == 1


def test_redirects_in_a_circle_end(server: FaultyServer) -> None:
    """F42."""
    server.script("/", answer(302, headers={"Location": "/configs/orders/blue/application"}))
    assert "redirects to" in str(failure(server))
    assert len(server.requests) == 4


def test_an_optional_namespace_without_a_release_is_empty_until_it_has_one(
    apollo_server: TinyApollo, caplog: pytest.LogCaptureFixture
) -> None:
    """F22."""
    apollo_server.publish("a", key="A1", x="1")

    async def act(apollo: Apollo) -> list[dict[str, str]]:
        seen = [await pull(apollo), await pull(apollo), await pull(apollo, full=True)]
        apollo_server.publish("b", key="B1", y="2")
        news = await apollo.changes()
        seen.append(await pull(apollo))
        assert "b" in news
        # Once it had a release, its absence is no longer nothing
        apollo_server.delete("b")
        with pytest.raises(Missing):
            await pull(apollo)
        return [one.values() for one in seen]

    seen = use(apollo_server, act, "a", "b", optional=True)
    assert seen == [{"x": "1"}, {"x": "1"}, {"x": "1"}, {"x": "1", "y": "2"}]
    assert caplog.text.count("namespace b has no release yet") == 1


def test_an_optional_namespace_of_which_a_release_is_remembered_is_missed(
    apollo_server: TinyApollo,
) -> None:
    async def act(apollo: Apollo) -> None:
        apollo.remember([Release("orders", "blue", "application", "K1", {"a": "1"})])
        with pytest.raises(Missing):
            await pull(apollo)

    use(apollo_server, act, optional=True)


def test_a_document_arrives_as_keys_and_changes_like_any_other(server: FaultyServer) -> None:
    server.script("/configs/", released("K1", content="a:\n  b: 0123\n"), answer(304))
    first, second = use(server, pull_twice, "app.yaml")
    assert first.values() == second.values() == {"a_b": "0123"}


def test_an_incremental_answer_is_applied_to_the_document_not_to_its_keys(
    server: FaultyServer,
) -> None:
    """F13."""
    change = {"key": "content", "newValue": "c: 3", "configurationChangeType": "MODIFIED"}
    incremental = {
        "releaseKey": "K2",
        "configSyncType": "IncrementalSync",
        "configurationChanges": [change],
    }
    server.script("/configs/", released("K1", content="a: 1"), answer(body=incremental))
    _, second = use(server, pull_twice, "app.yaml")
    assert second.values() == {"c": "3"}


def test_a_document_that_cannot_be_read_is_refused_and_the_next_is_taken(
    server: FaultyServer,
) -> None:
    server.script(
        "/configs/", released("K1", content="{"), answer(304), released("K2", content='{"a": "1"}')
    )

    async def act(apollo: Apollo) -> Snapshot:
        for _ in range(2):
            with pytest.raises(Unusable, match=r"line 1 of namespace app\.json"):
                await pull(apollo)
        return await pull(apollo)

    assert use(server, act, "app.json").values() == {"a": "1"}


AUTHORITY = """
[ca]
default_ca = here
[here]
database = {0}/index
serial = {0}/serial
new_certs_dir = {0}
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = IP:127.0.0.1
"""


def certified(directory: Path, end: str = "20991231000000Z") -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1 that only itself vouches for, and a server's use of it."""
    certificate, key, request = (directory / name for name in ("cert.pem", "key.pem", "csr.pem"))
    (directory / "authority").write_text(AUTHORITY.format(directory))
    (directory / "index").touch()
    (directory / "serial").write_text("01")
    new = f"req -new -newkey rsa:2048 -nodes -subj /CN=config -keyout {key} -out {request}"
    sign = (
        f"ca -batch -notext -selfsign -config {directory}/authority -keyfile {key} -in {request} "
        f"-out {certificate} -startdate 20200101000000Z -enddate {end}"
    )
    for arguments in (new, sign):
        subprocess.run([require("openssl"), *arguments.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def test_a_certificate_nobody_vouches_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F45."""
    certificate, context = certified(tmp_path)
    with FaultyServer(context) as server:
        server.script("/configs/", released("K1", a="1"))
        # When nobody vouches for it, Then nothing is asked of it
        text = str(failure(server))
        assert "certificate verify failed" in text.lower()
        assert "--config-ca" in text
        assert server.requests == []
        # And when somebody does, it is believed
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert use(server, pull).values() == {"a": "1"}


def test_an_authority_of_one_s_own_is_believed(tmp_path: Path) -> None:
    """F45."""
    certificate, context = certified(tmp_path)
    with FaultyServer(context) as server:
        server.script("/configs/", released("K1", a="1"))
        servers = Failover([server.url], access=ServerAccess(ca=str(certificate)))
        assert use(servers, pull).values() == {"a": "1"}


def test_a_certificate_that_has_expired_is_called_that(tmp_path: Path) -> None:
    """F45."""
    certificate, context = certified(tmp_path, end="20200102000000Z")
    with FaultyServer(context) as server:
        servers = Failover([server.url], access=ServerAccess(ca=str(certificate)))
        with pytest.raises(Unreachable, match="expired"):
            use(servers, pull)
        assert server.requests == []


def test_tls_that_fails_is_not_given_up_for_plain_http() -> None:
    """F45."""
    # Given a server without TLS, which answers a handshake as what it is to it: garbage
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    heard.append(connection.recv(3))
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            error = failure(f"https://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert isinstance(error, Unreachable)
    # Then nothing but handshakes was tried
    assert {first[:2] for first in heard} == {b"\x16\x03"}


def test_a_meta_server_asked_over_tls_leads_to_no_server_without(
    tmp_path: Path, server: FaultyServer
) -> None:
    """F45."""
    certificate, context = certified(tmp_path)
    with FaultyServer(context) as meta:
        meta.script("/services/config", listed(server.url))
        meta.script("/configs/", released("K1", a="1"))
        servers = Failover([], [meta.url], access=ServerAccess(ca=str(certificate)))
        assert use(servers, pull).values() == {"a": "1"}
    assert server.requests == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used") as caught:
        use(Failover(["https://127.0.0.1:9"], access=ServerAccess(ca=str(file))), pull)
    assert "--config-ca" in str(caught.value)
