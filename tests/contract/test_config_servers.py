"""Several servers, a meta server that names them, and what a request says of its sender."""

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from skep.base.errors import UsageError
from skep.config.apollo.client import Apollo
from skep.config.apollo.failover import Failover
from skep.config.apollo.server import ServerAccess, Timeouts
from skep.config.errors import ApolloError, Broken, Forbidden, Missing, Unreachable
from skep.config.snapshots.snapshot import Snapshot
from tests.faulty import (
    Behaviour,
    FaultyServer,
    TinyApollo,
    answer,
    close,
    hang,
    listed,
    released,
    reset,
    told,
    trickle,
)
from tests.pulls import pull
from tests.support import PATIENCE, free_port, wait_until_async

T = TypeVar("T")
PATIENT = Timeouts(connect=PATIENCE, answer=PATIENCE, hold=PATIENCE, proxy=PATIENCE)
TRICKLE = trickle('{"releaseKey"')
# For those tests in which a server never answers.
QUICK = Timeouts(connect=1.5, answer=1.5, hold=2.0, proxy=25.0)


@pytest.fixture
def three() -> Iterator[list[FaultyServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultyServer()) for _ in range(3)]


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def nobody() -> str:
    """Return an address at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def use(
    servers: Failover, act: Callable[[Apollo], Awaitable[T]], *namespaces: str, **more: Any
) -> T:
    async def main() -> T:
        apollo = Apollo(servers, "orders", "blue", namespaces or ("application",), **more)
        try:
            return await act(apollo)
        finally:
            await apollo.close()

    return asyncio.run(main())


async def pull_twice(apollo: Apollo) -> list[Snapshot]:
    return [await pull(apollo), await pull(apollo)]


def of(*urls: FaultyServer | str, timeouts: Timeouts = PATIENT, **more: Any) -> Failover:
    addresses = [url if isinstance(url, str) else url.url for url in urls]
    return Failover(addresses, access=ServerAccess(timeouts), **more)


def found_by(*metas: FaultyServer | str, timeouts: Timeouts = PATIENT, **more: Any) -> Failover:
    addresses = [meta if isinstance(meta, str) else meta.url for meta in metas]
    return Failover([], addresses, access=ServerAccess(timeouts), **more)


def timeouts_for(fault: Behaviour) -> Timeouts:
    """Return short ones for a fault that only a timeout ends."""
    return QUICK if fault in (hang, TRICKLE) else PATIENT


# Several servers


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(close, id="f03 closed"),
        pytest.param(reset(b"HTTP/1.1 200 OK\r\nContent-Le"), id="f03 reset"),
        pytest.param(hang, id="f04"),
        pytest.param(TRICKLE, id="f05"),
        pytest.param(answer(500), id="f06 500"),
        pytest.param(answer(503), id="f06 503"),
        pytest.param(answer(body="<html>"), id="f09"),
        pytest.param(answer(302, headers={"Location": "http://login/"}), id="f10"),
        pytest.param(answer(304), id="f15"),
    ],
)
def test_of_several_servers_the_next_is_asked(three: list[FaultyServer], fault: Behaviour) -> None:
    """F03, F04, F05, F06."""
    first, second, third = three
    first.script("/configs/", fault)
    second.script("/configs/", released("K1", a="1"), answer(304))
    for snapshot in use(of(*three, timeouts=timeouts_for(fault)), pull_twice):
        assert snapshot.values() == {"a": "1"}
    # And the one that failed is left alone for a while
    assert len(second.requests) == 2
    assert len(first.requests) in (1, 2)  # a lost connection is tried once more
    assert third.requests == []


def test_a_server_that_nobody_listens_at_costs_nothing_but_its_turn(
    server: FaultyServer,
) -> None:
    """F03."""
    server.script("/configs/", released("K1", a="1"))
    assert use(of(nobody(), server), pull).values() == {"a": "1"}


def test_when_all_fail_each_is_named_and_the_first_says_how(
    three: list[FaultyServer],
) -> None:
    """F03."""
    for one, status in zip(three, (500, 502, 503), strict=True):
        one.script("/configs/", answer(status))
    with pytest.raises(Broken) as caught:
        use(of(*three), pull)
    assert caught.value.status == 500
    assert all(one.url in str(caught.value) for one in three)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("status", "error"), [(401, Forbidden), (404, Missing)])
def test_a_server_that_means_no_speaks_for_all(
    three: list[FaultyServer], status: int, error: type[ApolloError]
) -> None:
    three[0].script("/configs/", answer(status))
    with pytest.raises(error):
        use(of(*three), pull)
    assert three[1].requests == []


def test_a_server_that_failed_is_asked_again_after_its_cooldown(
    three: list[FaultyServer],
) -> None:
    clock = Clock()
    first, second, _ = three
    first.script("/configs/", answer(500), released("K2", a="2"))
    second.script("/configs/", released("K1", a="1"), answer(500))

    async def act(apollo: Apollo) -> list[str]:
        before = (await pull(apollo)).values()["a"]
        clock.now += 60
        return [before, (await pull(apollo)).values()["a"]]

    assert use(of(*three, clock=clock), act) == ["1", "2"]


def test_the_server_that_notified_is_asked_first_and_told_its_messages(
    three: list[FaultyServer],
) -> None:
    # Given a first server that cannot poll, and a second that does
    first, second, _ = three
    news = {"details": {"orders+blue+application": 7}}
    entry = {"namespaceName": "application", "notificationId": 7, "messages": news}
    first.script("/configs/", released("K1", a="1"))
    first.script("/notifications/v2", answer(500))
    second.script("/notifications/v2", answer(body=[entry]))
    second.script("/configs/", released("K2", a="2"))

    async def act(apollo: Apollo) -> dict[str, str]:
        await pull(apollo)
        with pytest.raises(Broken):
            await apollo.changes()
        await apollo.changes()
        return (await pull(apollo)).values()

    assert use(of(*three), act) == {"a": "2"}
    (pulled,) = second.asked("/configs")
    assert json.loads(pulled.query["messages"]) == news
    assert "messages" not in first.asked("/configs")[0].query


def test_when_the_notifying_node_lags_behind_another_is_asked(
    three: list[FaultyServer],
) -> None:
    """F16."""
    # Given a node that notifies and goes on giving out what was before
    lagging, fresh, _ = three
    lagging.script("/configs/", released("K1", a="1"), answer(304))
    lagging.script("/notifications/v2", told(application=1), told(application=2))
    fresh.script("/notifications/v2", told(application=2))
    fresh.script("/configs/", released("K2", a="2"))

    async def act(apollo: Apollo) -> list[str]:
        seen = [(await pull(apollo)).values()["a"]]
        for _ in range(3):
            news = await apollo.changes()
            seen.append((await pull(apollo)).values()["a"])
            apollo.confirm(news)
        return seen

    # Then the id is not advanced until the other one has shown the release
    assert use(of(lagging, fresh), act) == ["1", "1", "1", "2"]
    assert fresh.asked("/notifications")[0].ids == {"application": 1}


def test_when_a_node_dies_under_a_held_poll_another_is_polled_next(
    three: list[FaultyServer],
) -> None:
    """F34."""
    first, second, _ = three
    first.script("/notifications/v2", close)
    second.script("/notifications/v2", told(application=5))

    async def act(apollo: Apollo) -> dict[str, int]:
        with pytest.raises(Unreachable):
            await apollo.changes()
        return await apollo.changes()

    assert use(of(*three), act) == {"application": 5}


def test_a_server_that_moved_is_found_at_its_new_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F46."""
    # Given a name that leads to one address, and later to another
    addresses = ["127.0.0.1"]
    plain = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **more: Any) -> Any:
        ours = host in ("config.test", b"config.test")
        return plain(addresses[-1] if ours else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    async def act(apollo: Apollo) -> list[str]:
        seen = [(await pull(apollo)).values()["a"]]
        gone.close()
        addresses.append("127.0.0.2")
        return [*seen, (await pull(apollo)).values()["a"]]

    with ExitStack() as gone, ExitStack() as stays:
        old = gone.enter_context(TinyApollo())
        new = stays.enter_context(TinyApollo(host="127.0.0.2", port=old.port))
        old.publish(key="K1", a="old")
        new.publish(key="K2", a="new")
        assert use(of(f"http://config.test:{old.port}"), act) == ["old", "new"]


# Who asks


def test_a_request_says_where_and_who_we_are(server: FaultyServer) -> None:
    server.script("/configs/", released("K1"))
    server.script("/notifications/v2", told())

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        await apollo.changes()

    servers = Failover([server.url], access=ServerAccess(ip="10.1.2.3"))
    use(servers, act, data_center="SHA JQ", label="canary&blue")
    pulled, polled = server.requests
    assert pulled.query == {"dataCenter": "SHA JQ", "label": "canary&blue", "ip": "10.1.2.3"}
    assert "label" not in polled.query
    assert polled.query["dataCenter"] == "SHA JQ"
    assert polled.query["ip"] == "10.1.2.3"


def test_the_address_is_that_which_leads_to_the_server_and_is_found_anew_after_a_failure(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F47."""
    server.script("/configs/", released("K1"), close, close, answer(304))
    towards = iter(["10.0.0.1", "10.0.0.2", "10.0.0.3"])

    async def moved(host: str, port: int, patience: float) -> str:
        assert (host, port) == ("127.0.0.1", server.port)
        return next(towards)

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        with pytest.raises(Unreachable):
            await pull(apollo)
        await pull(apollo)

    use(of(server), act)
    assert {request.query["ip"] for request in server.requests} == {"127.0.0.1"}
    # And when the way to the server changes
    server.requests.clear()
    server.script("/configs/", released("K1"), close, close, answer(304))
    monkeypatch.setattr("skep.config.apollo.server.address_towards", moved)
    use(of(server), act)
    sent = [request.query["ip"] for request in server.requests]
    assert sent == ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"]


# A meta server


def test_the_servers_that_a_meta_server_names_are_asked(three: list[FaultyServer]) -> None:
    meta, one, two = three
    meta.script("/services/config", listed(f"{one.url}/", two.url))
    for each in (one, two):
        each.script("/configs/", released("K1", a="1"), answer(304))
    use(found_by(meta), pull_twice)
    assert len(meta.requests) == 1
    # Whoever answered first goes on being asked
    assert sorted(len(each.requests) for each in (one, two)) == [0, 2]


def test_a_server_that_is_given_is_asked_and_not_the_meta_server(
    three: list[FaultyServer],
) -> None:
    meta, given, _ = three
    given.script("/configs/", released("K1", a="1"))
    use(Failover([given.url], [meta.url]), pull)
    assert meta.requests == []


@pytest.mark.parametrize(
    "useless",
    [
        listed(),
        answer(404),
        answer(500),
        answer(body="<html>", headers={"Content-Type": "text/html"}),
        answer(body={"homepageUrl": "http://h"}),
        listed(None, 7, "", "ftp://h", "localhost:8080"),
        close,
        hang,
    ],
    ids=["empty", "404", "500", "html", "object", "odd", "closed", "silent"],
)
def test_a_meta_server_with_nothing_useful_to_say_is_asked_itself(
    server: FaultyServer, useless: Behaviour
) -> None:
    """F32."""
    server.script("/services/config", useless)
    server.script("/configs/", released("K1", a="1"))
    servers = found_by(server, timeouts=timeouts_for(useless))
    assert use(servers, pull).values() == {"a": "1"}


def test_the_last_list_counts_while_there_is_no_other(
    three: list[FaultyServer], caplog: pytest.LogCaptureFixture
) -> None:
    """F32."""
    clock = Clock()
    meta, one, _ = three
    meta.script("/services/config", listed(one.url), listed(), answer(500), close)
    one.script("/configs/", released("K1", a="1"), answer(304))

    async def act(apollo: Apollo) -> None:
        for _ in range(4):
            await pull(apollo)
            clock.now += 1000

    use(found_by(meta, clock=clock), act)
    assert len(one.requests) == 4
    assert len(meta.asked("/services")) == 5  # the last one twice: its connection was lost
    assert meta.asked("/configs") == []
    assert caplog.text.count("names no config server") == 1


def test_unreachable_addresses_in_a_list_are_passed_over(server: FaultyServer) -> None:
    """F33."""
    server.script("/services/config", listed(nobody(), nobody(), "http://h:99999"))
    server.script("/configs/", released("K1", a="1"), answer(304))
    for snapshot in use(found_by(server), pull_twice):
        assert snapshot.values() == {"a": "1"}


def test_a_new_list_is_followed_and_the_old_servers_let_go(three: list[FaultyServer]) -> None:
    clock = Clock()
    meta, one, two = three
    meta.script("/services/config", listed(one.url), listed(two.url))
    one.script("/configs/", released("K1", a="1"))
    two.script("/configs/", released("K2", a="2"))

    async def act(apollo: Apollo) -> list[str]:
        seen = []
        for _ in range(2):
            seen.append((await pull(apollo)).values()["a"])
            clock.now += 1000
        await wait_until_async(lambda: not one.connections)
        return seen

    assert use(found_by(meta, clock=clock), act) == ["1", "2"]


def test_when_nobody_is_well_the_meta_server_is_asked_before_its_time(
    three: list[FaultyServer],
) -> None:
    clock = Clock()
    meta, one, two = three
    meta.script("/services/config", listed(one.url), listed(two.url))
    meta.script("/configs/", answer(503))
    one.script("/configs/", released("K1", a="1"), answer(503))
    two.script("/configs/", released("K2", a="2"))

    async def act(apollo: Apollo) -> str:
        await pull(apollo)
        with pytest.raises(Broken):
            await pull(apollo)
        clock.now += 3
        return (await pull(apollo)).values()["a"]

    assert use(found_by(meta, clock=clock), act) == "2"


def test_the_servers_of_a_list_are_not_asked_by_everybody_in_one_order(
    three: list[FaultyServer],
) -> None:
    meta, one, two = three
    meta.script("/services/config", listed(one.url, two.url))
    for each in (one, two):
        each.script("/configs/", released("K1", a="1"))
    for _ in itertools.takewhile(lambda _: not (one.requests and two.requests), range(50)):
        use(found_by(meta), pull)
    assert one.requests
    assert two.requests


def test_without_any_address_there_is_nothing_to_ask() -> None:
    with pytest.raises(UsageError, match="--config-server"):
        Failover([])
