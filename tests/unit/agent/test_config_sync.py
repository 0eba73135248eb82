"""The duty that follows the config server, against a real server on a real socket.

Numbers are those of the fault catalogue of the protocol.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from skep.agent.config_sync import (
    Candidate,
    ConfigState,
    ConfigSync,
    Following,
    Waits,
    time_with_suspends,
)
from skep.base.backoff import Backoff
from skep.base.errors import ConfigError
from skep.base.telemetry import Telemetry
from skep.config.apollo.client import Apollo
from skep.config.apollo.failover import Failover
from skep.config.env import dotenv
from skep.config.snapshots.archive import Archive, Policy, StartSource
from skep.config.snapshots.snapshot import Release, Snapshot
from tests.faulty import TinyApollo, answer, close, hang, told
from tests.support import PATIENCE, wait_until, wait_until_async

QUICK = Waits(
    start=10.0,
    start_with_cache=5.0,
    trouble=Backoff(first=0.01, cap=0.02),
    refusal=Backoff(first=0.01, cap=0.02),
    poll_gap=0.01,
)


@pytest.fixture
def server() -> Iterator[TinyApollo]:
    with TinyApollo() as running:
        yield running


@dataclass
class Watched:
    """A running ConfigSync and everything it said."""

    sync: ConfigSync
    archive: Archive
    task: "asyncio.Task[None] | None" = None
    offers: list[Candidate] = field(default_factory=list)
    states: list[ConfigState] = field(default_factory=list)
    points: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def values(self) -> list[dict[str, str]]:
        return [offer.snapshot.values() for offer in self.offers]

    @property
    def state(self) -> ConfigState:
        return self.states[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait; an end of the duty fails the test."""

        def holds() -> object:
            if self.task is not None and self.task.done():
                self.task.result()
                raise AssertionError("the duty has ended")
            return condition()

        await wait_until_async(holds)

    async def offered(self, *values: dict[str, str]) -> None:
        """Wait until exactly these values were offered, in this order."""
        await self.until(lambda: len(self.values) >= len(values))
        assert self.values == list(values)


def watched(
    server: TinyApollo | str,
    directory: Path,
    *namespaces: str,
    policy: Policy = "cache",
    **more: Any,
) -> Watched:
    url = server if isinstance(server, str) else server.url
    names = namespaces or ("application",)
    telemetry = Telemetry()
    optional = policy == "optional"
    apollo = Apollo(
        Failover([url]), "orders", "default", names, optional=optional, telemetry=telemetry
    )
    archive = Archive(directory, "orders", "default", names)
    reserve = StartSource(archive, directory / ".env", policy)
    offers: list[Candidate] = []
    states: list[ConfigState] = []

    async def offer(candidate: Candidate) -> None:
        offers.append(candidate)

    options = {"waits": QUICK, "telemetry": telemetry, **more}
    sync = ConfigSync(apollo, reserve, offer, states.append, **options)
    found = Watched(sync, archive, offers=offers, states=states)
    for name in ("config.long_poll", "config.notification"):
        telemetry.subscribe(name, lambda fields, name=name: found.points.append((name, fields)))  # type: ignore[misc]
    return found


@asynccontextmanager
async def following(*args: Any, **more: Any) -> AsyncIterator[Watched]:
    found = watched(*args, **more)
    found.task = asyncio.ensure_future(found.sync.run())
    try:
        yield found
    finally:
        found.task.cancel()
        await asyncio.wait([found.task])
        # An answer that was cut off is closed by the loop itself, in a task of its next turns
        async with asyncio.timeout(PATIENCE):
            while asyncio.all_tasks() != {asyncio.current_task()}:
                await asyncio.sleep(0)


def cached(**values: str) -> Snapshot:
    return Snapshot((Release("orders", "default", "application", "K-old", values),), 5.0)


def log_lines(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


# The ordinary way


def test_what_is_published_is_offered_and_staged(server: TinyApollo, tmp_path: Path) -> None:
    server.publish(key="K1", a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.offered({"a": "1"})
            first = it.offers[0]
            assert (first.source, first.reason) == ("remote", "start")
            assert it.archive.load(first.path) == first.snapshot
            assert it.archive.applied() is None
            await it.until(lambda: it.state.connected)

            server.publish(key="K2", a="2", b="")
            await it.offered({"a": "1"}, {"a": "2", "b": ""})
            assert it.offers[1].reason == "notification"
            await it.until(lambda: it.state.release_keys == {"application": "K2"})

    asyncio.run(main())


def test_the_state_tells_what_status_wants_to_know(server: TinyApollo, tmp_path: Path) -> None:
    server.publish(key="K1", a="1")
    url = server.url.replace("://", "://user:s3cret@")

    async def main() -> None:
        async with following(url, tmp_path) as it:
            await it.until(lambda: it.states and it.state.connected)
            assert it.state.last_pull_at >= it.offers[0].snapshot.fetched_at
            assert replace(it.state, last_pull_at=0.0) == ConfigState(
                url=server.url,
                app_id="orders",
                cluster="default",
                namespaces=("application",),
                source="remote",
                release_keys={"application": "K1"},
                connected=True,
                following=(Following("application"),),
            )
        assert it.state.connected is False
        assert [p for p in it.points if p[0] == "config.long_poll"] == [
            ("config.long_poll", {"connected": 1}),
            ("config.long_poll", {"connected": 0}),
        ]

    asyncio.run(main())


def test_a_release_of_equal_content_is_offered_once_so_that_its_name_is_known(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F25."""
    server.publish(key="K1", a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: it.states and it.state.connected)
            server.publish(key="K2", a="1")
            await it.until(lambda: it.state.release_keys == {"application": "K2"})
            server.publish(key="K3", a="3")
            await it.offered({"a": "1"}, {"a": "1"}, {"a": "3"})

    asyncio.run(main())


def test_what_was_before_is_offered_again_when_something_else_came_between(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F23, F24."""
    server.publish(key="K1", a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.offered({"a": "1"})
            server.publish(key="K2", a="2", b="2")
            await it.offered({"a": "1"}, {"a": "2", "b": "2"})
            server.publish(key="K1", a="1")
            await it.offered({"a": "1"}, {"a": "2", "b": "2"}, {"a": "1"})

    asyncio.run(main())


def test_what_is_published_while_the_first_pull_is_under_way_is_not_lost(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F36."""
    server.publish(a="1")

    async def main() -> None:
        found = watched(server, tmp_path)

        async def publish_meanwhile(candidate: Candidate) -> None:
            found.offers.append(candidate)
            if len(found.offers) == 1:
                await asyncio.to_thread(server.publish, a="2")

        found.sync._offer = publish_meanwhile
        task = asyncio.ensure_future(found.sync.run())
        await found.offered({"a": "1"}, {"a": "2"})
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())


def test_of_a_burst_of_releases_the_last_is_offered_in_the_end(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F37."""
    server.publish(n="0")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.offered({"n": "0"})
            for n in range(1, 101):
                await asyncio.to_thread(server.publish, n=str(n))
            await it.until(lambda: it.values[-1] == {"n": "100"})
            order = [int(values["n"]) for values in it.values]
            assert order == sorted(set(order))
            assert len(list(it.offers[-1].path.parent.iterdir())) <= 8

    asyncio.run(main())


def test_two_namespaces_published_together_are_offered_and_the_next_publish_too(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F38."""
    server.publish("a", x="1")
    server.publish("b", y="1")

    async def main() -> None:
        async with following(server, tmp_path, "a", "b") as it:
            await it.offered({"x": "1", "y": "1"})
            server.publish("a", x="2")
            server.publish("b", y="2")
            await it.until(lambda: it.values[-1] == {"x": "2", "y": "2"})
            server.publish("b", y="3")
            await it.until(lambda: it.values[-1] == {"x": "2", "y": "3"})

    asyncio.run(main())


# Each namespace stands for itself


def test_what_is_missing_or_unreadable_keeps_its_release_and_the_others_go_on(
    server: TinyApollo, tmp_path: Path
) -> None:
    """B2."""
    server.publish("a", key="A1", a="1")
    server.publish("b.yaml", key="B1", content="b: 1")
    server.publish("c", key="C1", c="1")

    async def main() -> None:
        async with following(server, tmp_path, "a", "b.yaml", "c") as it:
            await it.until(lambda: it.states and it.state.connected)
            it.archive.commit(it.offers[-1].snapshot)  # as the supervisor does
            # When one is deleted, one cannot be read and one is published
            server.delete("a")
            server.publish("b.yaml", key="B2", content="b: [")
            server.publish("c", key="C2", c="2")
            # Then that one is followed
            await it.until(lambda: it.values[-1] == {"a": "1", "b": "1", "c": "2"})
            assert it.state.release_keys == {"a": "A1", "b.yaml": "B1", "c": "C2"}
            reasons = ["missing", "malformed", ""]
            await it.until(lambda: [one.reason for one in it.state.following] == reasons)
            assert it.values[-1] == {"a": "1", "b": "1", "c": "2"}
            assert it.state.source == "remote"
        # And so it is after a restart, and the others come back by themselves
        server.publish("c", key="C3", c="3")
        async with following(server, tmp_path, "a", "b.yaml", "c") as it:
            await it.offered({"a": "1", "b": "1", "c": "3"})
            assert it.offers[0].source == "remote"
            server.publish("a", key="A2", a="2")
            server.publish("b.yaml", key="B3", content="b: 3")
            await it.until(lambda: it.values[-1] == {"a": "2", "b": "3", "c": "3"})
            await it.until(lambda: not it.state.last_error)

    asyncio.run(main())


def test_a_namespace_that_fails_for_a_while_is_asked_for_again_soon(
    server: TinyApollo, tmp_path: Path
) -> None:
    """B2."""
    server.publish("a", a="1")
    server.publish("b", key="B1", b="1")

    async def main() -> None:
        async with following(server, tmp_path, "a", "b") as it:
            await it.until(lambda: it.states and it.state.connected)
            server.script("/configs/orders/default/b", answer(503))
            server.publish("b", key="B2", b="2")
            server.publish("a", a="2")
            await it.until(lambda: it.values[-1] == {"a": "2", "b": "1"})
            await it.until(lambda: it.state.following[1].reason == "http_5xx")
            # No refresh is due for minutes, and no poll tells of it again
            server.well("/configs/orders/default/b")
            await it.until(lambda: it.values[-1] == {"a": "2", "b": "2"})
            await it.until(lambda: not it.state.last_error)

    asyncio.run(main())


def test_what_was_pulled_last_is_kept_while_the_server_hiccups_and_what_is_in_force_else(
    server: TinyApollo, tmp_path: Path
) -> None:
    """B2."""
    server.publish("a", a="1")
    server.publish("b", key="B1", b="1")

    async def main() -> None:
        async with following(server, tmp_path, "a", "b") as it:
            await it.until(lambda: it.states and it.state.connected)
            it.archive.commit(it.offers[-1].snapshot)
            # Given a release that the supervisor does not apply
            server.publish("b", key="B2", b="2")
            await it.until(lambda: it.values[-1] == {"a": "1", "b": "2"})
            server.script("/configs/orders/default/b", answer(503))
            server.publish("a", a="2")
            await it.until(lambda: it.values[-1] == {"a": "2", "b": "2"})
            # When its namespace is deleted, it is not what holds the others back
            server.script("/configs/orders/default/b", answer(404))
            server.publish("a", a="3")
            await it.until(lambda: it.values[-1] == {"a": "3", "b": "1"})

    asyncio.run(main())


def test_what_is_refused_stays_refused_while_the_server_is_away(
    server: TinyApollo, tmp_path: Path
) -> None:
    """B1."""
    server.publish("a", a="1")
    server.publish("b", b="1")

    async def main() -> None:
        waits = refreshed_every(0.02)
        async with following(server, tmp_path, "a", "b", waits=waits) as it:
            await it.until(lambda: it.states and it.state.connected)
            server.publish("b", key="B2", PATH="/evil")
            await it.until(lambda: it.state.following[1].refused == "B2")
            # When that namespace fails, and then all do
            server.script("/configs/orders/default/b", answer(503))
            await it.until(lambda: it.state.reason == "http_5xx")
            server.script("/configs/", answer(503))
            await it.until(lambda: it.state.following[0].reason == "http_5xx")
            # Then nobody hears that it is not refused any more
            refused = [state.following[1].refused for state in it.states]
            assert set(refused[refused.index("B2") :]) == {"B2"}
            # Until it is deleted
            server.script("/configs/orders/default/b", answer(404))
            server.well("/configs/")
            await it.until(lambda: it.state.following[1].reason == "missing")
            assert it.state.following[1].refused == ""

    asyncio.run(main())


def test_who_requires_the_service_starts_with_nothing_that_it_does_not_give(
    server: TinyApollo, tmp_path: Path
) -> None:
    """B2."""
    names = ("a", "b")
    releases = (Release("orders", "default", name, "K", {name: "1"}) for name in names)
    watched(server, tmp_path, *names).archive.commit(Snapshot(tuple(releases), 1.0))
    server.publish("a", a="2")
    found = watched(server, tmp_path, *names, policy="require")
    with pytest.raises(ConfigError, match="no release of namespace b") as caught:
        asyncio.run(found.sync.run())
    assert caught.value.exit_code == 4
    assert found.offers == []


def test_who_needs_no_config_starts_without_the_namespace_that_cannot_be_read(
    server: TinyApollo, tmp_path: Path
) -> None:
    """B2."""
    server.publish("a", a="1")
    server.publish("b.json", content="{")

    async def main() -> None:
        async with following(server, tmp_path, "a", "b.json", policy="optional") as it:
            await it.offered({"a": "1"})
            assert it.state.following[1].reason == "malformed"

    asyncio.run(main())


def test_a_poll_that_tells_the_id_we_have_is_answered_by_one_conditional_pull(
    server: TinyApollo, tmp_path: Path
) -> None:
    """C3."""
    known = server.publish(key="K1", a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: polled(server, known))
            asked = len(server.asked("/configs"))
            server.publish_silently(a="2")
            server.script("/notifications/v2", told(application=known), server._notify)
            for task in list(server.connections):
                server.loop.call_soon_threadsafe(task.cancel)
            await it.offered({"a": "1"}, {"a": "2"})
            assert [r.query.get("releaseKey") for r in server.asked("/configs")[asked:]] == ["K1"]

    asyncio.run(main())


# Starting


def test_without_server_and_without_cache_the_start_fails_and_names_the_url(
    tmp_path: Path,
) -> None:
    """F02."""
    waits = Waits(start=1.0, trouble=QUICK.trouble)
    found = watched("http://user:s3cret@127.0.0.1:9", tmp_path, waits=waits)
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        asyncio.run(found.sync.run())
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 9
    assert found.offers == []


def test_a_server_that_hangs_fails_the_start_when_the_time_is_up(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F04."""
    server.script("/configs/", hang)
    found = watched(server, tmp_path, waits=replace(QUICK, start=0.5))
    with pytest.raises(ConfigError, match=f"{server.url} did not answer within 0.5 s"):
        asyncio.run(found.sync.run())
    wait_until(lambda: not server.connections)


def test_a_document_that_cannot_be_read_is_refused_visibly(
    server: TinyApollo, tmp_path: Path
) -> None:
    server.publish("x.yaml", key="K1", content="a: 1")

    async def main() -> None:
        async with following(server, tmp_path, "x.yaml") as it:
            await it.until(lambda: it.states and it.state.connected)
            server.publish("x.yaml", key="K2", content="a: [")
            await it.until(lambda: it.state.reason == "malformed")
            assert it.state.release_keys == {"x.yaml": "K1"}
            [refused] = it.state.following
            assert (refused.refused, refused.reason) == ("K2", "malformed")
            assert "namespace x.yaml cannot be used" in refused.trouble
            server.publish("x.yaml", content="a: 2")
            await it.offered({"a": "1"}, {"a": "2"})
            await it.until(lambda: it.state.following == (Following("x.yaml"),))

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_server_that_means_no_fails_the_start_at_once(
    server: TinyApollo, tmp_path: Path, status: int
) -> None:
    server.script("/configs/", answer(status))
    found = watched(server, tmp_path, waits=Waits(start=3600.0))
    with pytest.raises(ConfigError, match=server.url):
        asyncio.run(found.sync.run())
    assert len(server.requests) == 1


def test_a_server_that_is_up_a_moment_later_is_waited_for(
    server: TinyApollo, tmp_path: Path
) -> None:
    server.publish(a="1")
    server.script("/configs/", answer(503), close, close, answer(200, "<html>"), server._config)

    async def main() -> None:
        async with following(server, tmp_path, waits=Waits(trouble=QUICK.trouble)) as it:
            await it.offered({"a": "1"})
            await it.until(lambda: it.state.last_error == "")

    asyncio.run(main())


def test_without_server_the_cache_is_offered_and_the_server_found_later(
    server: TinyApollo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F01."""
    # Given a server that is down and a last known good snapshot
    watched(server, tmp_path).archive.commit(cached(a="old"))
    server.script("/", answer(503))
    server.script("/configs/", answer(503))
    server.script("/notifications/v2", answer(503))

    async def main() -> None:
        async with following(server, tmp_path) as it:
            # When it is started
            await it.offered({"a": "old"})
            # Then it runs with the cache, and says so
            assert it.offers[0].source == "cache"
            assert it.archive.load(it.offers[0].path) == cached(a="old")
            await it.until(lambda: it.state.source == "cache")
            assert it.state.release_keys == {"application": "K-old"}
            assert it.state.reason == "http_5xx"
            assert it.state.connected is False
            # And when the server is back, it converges
            server.publish(key="K1", a="new")
            server.well("/configs/", "/notifications/v2")
            await it.offered({"a": "old"}, {"a": "new"})
            await it.until(lambda: it.state.connected and not it.state.last_error)
            assert it.state.source == "remote"

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert log_lines(caplog, "failed on app orders") <= 2
    assert log_lines(caplog, "starts with the config of its last run") == 1
    assert log_lines(caplog, "is followed again") == 1
    assert "Traceback" not in caplog.text


def test_a_cache_equal_to_what_the_server_has_is_not_offered_twice(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F01."""
    watched(server, tmp_path).archive.commit(cached(a="1"))
    server.publish(key="K-old", a="1")
    server.script("/configs/", answer(503), server._config)

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: it.states and it.state.source == "remote")
            assert it.values == [{"a": "1"}]

    asyncio.run(main())


def test_a_server_that_hangs_does_not_keep_a_start_with_cache_waiting(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F01."""
    watched(server, tmp_path).archive.commit(cached(a="old"))
    server.script("/configs/", hang)

    async def main() -> None:
        waits = replace(QUICK, start_with_cache=0.3)
        async with following(server, tmp_path, waits=waits) as it:
            await it.offered({"a": "old"})
            assert it.state.reason == "timeout"

    asyncio.run(main())


def test_a_release_that_cannot_be_used_does_not_spoil_a_start_with_cache(
    server: TinyApollo, tmp_path: Path
) -> None:
    watched(server, tmp_path).archive.commit(cached(a="old"))
    server.publish(PATH="/evil")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.offered({"a": "old"})
            assert it.state.reason == "denied"
            server.publish(a="new")
            await it.offered({"a": "old"}, {"a": "new"})

    asyncio.run(main())


# What a start may fall back to


@pytest.mark.parametrize("status", [401, 503])
def test_who_requires_the_server_does_not_start_from_a_cache(
    server: TinyApollo, tmp_path: Path, status: int
) -> None:
    """F02."""
    watched(server, tmp_path).archive.commit(cached(a="old"))
    server.script("/configs/", answer(status))
    waits = replace(QUICK, start=0.5)
    found = watched(server, tmp_path, policy="require", waits=waits)
    with pytest.raises(ConfigError, match="--config-policy require"):
        asyncio.run(found.sync.run())
    assert found.offers == []


def test_who_needs_no_config_starts_without_any_and_picks_it_up_later(
    server: TinyApollo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F02."""
    server.script("/", answer(503))
    server.script("/configs/", answer(503))
    server.script("/notifications/v2", answer(503))

    async def main() -> None:
        async with following(server, tmp_path, "a", "b", policy="optional") as it:
            await it.offered({})
            assert it.offers[0].source == "none"
            assert it.archive.load(it.offers[0].path) == it.offers[0].snapshot
            await it.until(lambda: it.state.reason == "http_5xx")
            server.publish("b", y="1")
            server.well("/configs/", "/notifications/v2")
            await it.offered({}, {"y": "1"})
            await it.until(lambda: it.state.source == "remote" and not it.state.last_error)

    asyncio.run(main())
    assert log_lines(caplog, "starts without any config") == 1


def test_who_needs_no_config_starts_with_the_block_of_env_before_with_nothing(
    server: TinyApollo, tmp_path: Path
) -> None:
    dotenv.write(tmp_path / ".env", {"a": "block"})
    server.script("/configs/", answer(503))

    async def main() -> None:
        async with following(server, tmp_path, policy="optional") as it:
            await it.offered({"a": "block"})
            assert it.offers[0].source == "file"

    asyncio.run(main())


def test_a_block_of_env_alone_is_nothing_to_start_from_for_who_needs_a_config(
    server: TinyApollo, tmp_path: Path
) -> None:
    dotenv.write(tmp_path / ".env", {"a": "block"})
    server.script("/configs/", answer(401))
    with pytest.raises(ConfigError, match="no config of an earlier run"):
        asyncio.run(watched(server, tmp_path).sync.run())


def test_an_optional_namespace_is_begun_without_and_told_of_once(
    server: TinyApollo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F22."""
    server.publish("a", x="1")
    waits = refreshed_every(0.02)

    async def main() -> None:
        async with following(server, tmp_path, "a", "b", policy="optional", waits=waits) as it:
            await it.offered({"x": "1"})
            assert it.offers[0].source == "remote"
            await it.until(lambda: len(server.asked("/configs/orders/default/b")) >= 5)
            assert it.state.last_error == ""
            server.publish("b", y="2")
            await it.offered({"x": "1"}, {"x": "1", "y": "2"})

    asyncio.run(main())
    assert log_lines(caplog, "namespace b has no release yet") == 1


def test_an_optional_namespace_that_is_deleted_before_a_start_keeps_its_config(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F21."""
    watched(server, tmp_path).archive.commit(cached(a="old"))

    async def main() -> None:
        async with following(server, tmp_path, policy="optional") as it:
            await it.offered({"a": "old"})
            await it.until(lambda: it.state.reason == "missing")

    asyncio.run(main())


def test_without_server_a_new_list_of_namespaces_is_started_from_the_cache_of_each(
    server: TinyApollo, tmp_path: Path
) -> None:
    # Given two lists that were followed, and a server that is down
    for name in ("a", "b"):
        release = Release("orders", "default", name, f"K-{name}", {name: "1"})
        watched(server, tmp_path, name).archive.commit(Snapshot((release,), 1.0))
    server.script("/configs/", answer(503))

    async def main() -> None:
        # When they are followed together
        async with following(server, tmp_path, "b", "a") as it:
            # Then
            await it.offered({"b": "1", "a": "1"})
            assert it.offers[0].source == "cache"

    asyncio.run(main())


# Trouble on the way


def test_a_release_that_cannot_be_used_is_refused_visibly_and_the_next_is_tried(
    server: TinyApollo, tmp_path: Path
) -> None:
    server.publish(key="K1", a="1")
    reasons = ["collision", "denied", "limits"]

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: it.states and it.state.connected)
            bad = [{"a.b": "1", "a-b": "2"}, {"LD_PRELOAD": "x"}, {"a": "x\0"}]
            for values, reason in zip(bad, reasons, strict=True):
                server.publish(**values)
                await it.until(lambda reason=reason: it.state.reason == reason)  # type: ignore[misc]
                assert it.state.release_keys == {"application": "K1"}
            assert it.values == [{"a": "1"}]
            server.publish(a="2")
            await it.offered({"a": "1"}, {"a": "2"})
            await it.until(lambda: it.state.last_error == "")
        # Each is a state of its own, by which the supervisor counts, logs and records it
        refused = [state.following[0] for state in it.states if state.following[0].refused]
        assert list(dict.fromkeys(one.reason for one in refused)) == reasons
        assert len({one.refused for one in refused}) == 3

    asyncio.run(main())


def test_an_empty_config_is_fine_where_there_never_was_another(
    server: TinyApollo, tmp_path: Path
) -> None:
    server.publish(key="K1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.offered({})

    asyncio.run(main())


def test_while_polls_fail_the_refresh_goes_on(server: TinyApollo, tmp_path: Path) -> None:
    """F07."""
    server.publish(a="1")
    server.script("/notifications/v2", answer(500))

    async def main() -> None:
        async with following(server, tmp_path, waits=refreshed_every(0.02)) as it:
            await it.offered({"a": "1"})
            server.publish(a="2")
            await it.offered({"a": "1"}, {"a": "2"})
            assert it.offers[1].reason == "refresh"
            await it.until(lambda: it.state.reason == "http_5xx")
            assert it.state.connected is False

    asyncio.run(main())


def polled(server: TinyApollo, number: int) -> bool:
    """Say whether a poll has told the server that this is the newest id known."""
    return any(poll.ids == {"application": number} for poll in server.asked("/notifications"))


def refreshed_every(seconds: float) -> Waits:
    return Waits(
        refresh=seconds,
        trouble=QUICK.trouble,
        refusal=QUICK.refusal,
        poll_gap=QUICK.poll_gap,
    )


def test_a_pull_that_fails_after_a_notification_is_tried_again_at_once(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F17."""
    server.publish(a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: it.states and it.state.connected)
            server.script("/configs/", answer(503), answer(503), server._config)
            server.publish(a="2")
            await it.offered({"a": "1"}, {"a": "2"})
            await it.until(lambda: not it.state.last_error)

    asyncio.run(main())


def test_a_server_that_counts_from_elsewhere_is_followed_after_the_next_refresh(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F19."""
    # Given a database restored: a new release, but ids lower than the one we were given
    known = server.publish(a="1")

    async def main() -> None:
        async with following(server, tmp_path, waits=refreshed_every(0.1)) as it:
            # Not earlier: a pull that is still to come would account for what follows.
            await it.until(lambda: polled(server, known))
            server._last_id = 1
            server.publish(a="2")
            # When the refresh has found it
            await it.until(lambda: {"a": "2"} in it.values)
            # Then the poll that was held is given up, and polls tell of releases again
            await it.until(lambda: polled(server, 2))
            it.sync._waits = Waits()
            server.publish(a="3")
            await it.until(lambda: it.values[-1] == {"a": "3"})

    asyncio.run(main())


def test_ids_that_no_pull_can_prove_wrong_are_dropped_after_a_while(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F19."""
    known = server.publish(key="K1", a="1")
    waits, later = replace(refreshed_every(0.05), trust=5.0), [0.0]

    async def main() -> None:
        async with following(
            server, tmp_path, waits=waits, clock=lambda: time_with_suspends() + later[0]
        ) as it:
            await it.until(lambda: polled(server, known))
            # When the database is restored with the same releases, counted from elsewhere
            server._last_id = 1
            server.publish(key="K1", a="1")
            later[0] = 6.0
            # Then
            await it.until(lambda: polled(server, 2))

    asyncio.run(main())


def test_after_a_failed_poll_no_id_is_trusted(server: TinyApollo, tmp_path: Path) -> None:
    """F19."""
    server.publish(a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: len(server.asked("/notifications")) == 2)
            server._last_id = 1
            server.publish_silently(a="2")
            for task in list(server.connections):
                server.loop.call_soon_threadsafe(task.cancel)
            await it.offered({"a": "1"}, {"a": "2"})

    asyncio.run(main())


def test_a_namespace_that_is_deleted_keeps_the_config_and_comes_back(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F21."""
    server.publish(key="K1", a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: it.states and it.state.connected)
            server.delete()
            server.script("/notifications/v2", told(application=500), server._notify)
            for task in list(server.connections):
                server.loop.call_soon_threadsafe(task.cancel)
            await it.until(lambda: it.state.reason == "missing")
            assert it.state.release_keys == {"application": "K1"}
            server._last_id = 500
            server.publish(a="2")
            await it.offered({"a": "1"}, {"a": "2"})

    asyncio.run(main())


def test_a_cancelled_duty_leaves_no_connection_and_no_task(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F49."""
    server.publish(a="1")

    async def main() -> None:
        async with following(server, tmp_path) as it:
            await it.until(lambda: it.states and it.state.connected)

    asyncio.run(main())
    wait_until(lambda: not server.connections)


def test_a_duty_that_backs_off_is_cancelled_as_well(server: TinyApollo, tmp_path: Path) -> None:
    """F49."""
    watched(server, tmp_path).archive.commit(cached(a="old"))
    server.script("/", answer(401))
    server.script("/configs/", answer(401))

    async def main() -> None:
        async with following(server, tmp_path, waits=Waits()) as it:
            await it.offered({"a": "old"})

    asyncio.run(main())
    wait_until(lambda: not server.connections)


# Time


@dataclass
class Hours:
    """Time for the duty that passes at once; `passed` holds what its follower waited for.

    The refresh naps until `wake` is set; by then the machine has slept for an hour.
    """

    now: float = 1000.0
    passed: list[float] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == "config refresh":
            await self.wake.wait()
            self.wake.clear()
            self.now += 3600.0
        else:
            self.passed.append(seconds)
            self.now += seconds
        await asyncio.sleep(0)


def test_a_server_that_repeats_itself_is_polled_once_a_second(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F18."""
    server.publish(a="1")
    server.script("/notifications/v2", told(application=7))
    hours = Hours()

    async def main() -> None:
        async with following(
            server, tmp_path, waits=Waits(), sleep=hours.sleep, clock=hours.clock
        ) as it:
            await it.until(lambda: len(server.asked("/notifications")) >= 12)
            assert it.values == [{"a": "1"}]

    asyncio.run(main())
    # The first two come without a wait: the one that tells all ids, and one for free
    assert len(hours.passed) >= 9
    assert hours.passed == pytest.approx([1.0] * len(hours.passed))


def test_a_server_whose_ids_always_grow_is_polled_once_a_second_too(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F18."""
    server.publish(a="1")
    server.script("/notifications/v2", *(told(application=n) for n in range(1, 100)))
    hours = Hours()

    async def main() -> None:
        async with following(
            server, tmp_path, waits=Waits(), sleep=hours.sleep, clock=hours.clock
        ) as it:
            await it.until(lambda: len(server.asked("/notifications")) >= 12)

    asyncio.run(main())
    assert len(hours.passed) >= 9
    assert hours.passed == pytest.approx([1.0] * len(hours.passed))


def test_a_server_that_refuses_us_is_asked_less_than_five_times_in_ten_seconds(
    server: TinyApollo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F26."""
    # Given a cache to start from, and a server that says 401 to every request
    names = [f"n{i}" for i in range(5)]
    archive = watched(server, tmp_path, *names).archive
    archive.commit(Snapshot(tuple(Release("orders", "default", n, "K", {}) for n in names), 1.0))
    server.script("/configs/", answer(401))
    server.script("/notifications/v2", answer(401))
    hours = Hours()

    async def main() -> None:
        async with following(
            server, tmp_path, *names, waits=Waits(), sleep=hours.sleep, clock=hours.clock
        ) as it:
            await it.until(lambda: len(server.requests) >= 5)
            assert it.state.reason == "auth"

    asyncio.run(main())
    # Then the fifth request comes long after
    assert sum(hours.passed[:4]) > 10
    assert log_lines(caplog, "check the credentials") < 5


def test_after_a_suspend_everything_is_pulled_anew_and_the_old_poll_given_up(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F50."""
    server.publish(key="K1", a="1")
    hours = Hours()

    async def main() -> None:
        async with following(
            server, tmp_path, waits=Waits(), sleep=hours.sleep, clock=hours.clock
        ) as it:
            # Given a poll that is held, and a publish that nobody hears of
            await it.until(lambda: len(server.asked("/notifications")) == 2)
            server.publish_silently(a="2")
            # When the machine wakes after an hour
            hours.wake.set()
            # Then
            await it.offered({"a": "1"}, {"a": "2"})
            pulls = ["releaseKey" in request.query for request in server.asked("/configs")]
            assert pulls[:3] == [False, True, False]
            await it.until(lambda: len(server.asked("/notifications")) >= 3)
            assert server.asked("/notifications")[2].ids == {"application": -1}

    asyncio.run(main())


def test_a_trouble_that_lasts_is_logged_once_a_minute(
    server: TinyApollo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.publish(a="1")
    server.script("/notifications/v2", server._notify, answer(500))
    hours = Hours()

    async def main() -> None:
        async with following(
            server, tmp_path, waits=Waits(), sleep=hours.sleep, clock=hours.clock
        ) as it:
            await it.until(lambda: sum(hours.passed) > 600)

    asyncio.run(main())
    minutes = sum(hours.passed) / 60
    assert 1 <= log_lines(caplog, "failed on app orders, the poll for changes") <= minutes + 1
    assert max(hours.passed) <= 30
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("header", "least", "most"), [("45", 45, 45), ("90000", 300, 300), ("", 4, 6)]
)
def test_a_server_that_asks_for_a_pause_gets_it_within_reason(
    server: TinyApollo, tmp_path: Path, header: str, least: float, most: float
) -> None:
    """F31."""
    server.publish(a="1")
    throttled = answer(429, headers={"Retry-After": header})
    server.script("/notifications/v2", server._notify, throttled, hang)
    hours = Hours()

    async def main() -> None:
        async with following(
            server, tmp_path, waits=Waits(), sleep=hours.sleep, clock=hours.clock
        ) as it:
            await it.until(lambda: len(server.asked("/notifications")) >= 3)
            assert it.values == [{"a": "1"}]

    asyncio.run(main())
    assert least <= max(hours.passed) <= most


def test_clients_that_lost_their_server_together_do_not_come_back_together(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F35."""
    server.publish(a="1")
    server.script("/notifications/v2", close)
    first, all_waits = [], []

    async def main() -> None:
        for n in range(8):
            hours = Hours()
            async with following(
                server, tmp_path / str(n), waits=Waits(), sleep=hours.sleep, clock=hours.clock
            ) as it:
                await it.until(lambda hours=hours: len(hours.passed) >= 10)  # type: ignore[misc]
            first.append(hours.passed[0])
            all_waits.extend(hours.passed)

    asyncio.run(main())
    # F34: the first try comes within a second; then they spread over up to half a minute
    assert max(first) <= 1
    assert len({round(wait, 2) for wait in first}) > 3
    assert max(all_waits) <= 30
    assert max(all_waits) - min(all_waits) > 10


# Who takes the offers


@pytest.mark.parametrize("hangs", [True, False])
def test_whoever_takes_an_offer_may_fail_or_hang_and_gets_the_next(
    server: TinyApollo, tmp_path: Path, hangs: bool
) -> None:
    """F51."""
    server.publish(n="1")
    found = watched(server, tmp_path, waits=replace(QUICK, offer=0.05))

    async def take(candidate: Candidate) -> None:
        found.offers.append(candidate)
        if candidate.snapshot.values() == {"n": "2"}:
            await asyncio.Event().wait() if hangs else [][1]

    found.sync._offer = take

    async def main() -> None:
        found.task = asyncio.ensure_future(found.sync.run())
        await found.until(lambda: found.states and found.state.connected)
        server.publish(n="2")
        # It is offered again, and told of
        await found.until(lambda: found.values.count({"n": "2"}) >= 3)
        await found.until(lambda: "could not be handed on" in found.state.last_error)
        # And what comes next is delivered
        server.publish(n="3")
        await found.until(lambda: found.values[-1] == {"n": "3"})
        await found.until(lambda: found.state.last_error == "")
        found.task.cancel()
        await asyncio.wait([found.task])

    asyncio.run(main())


def test_a_candidate_is_offered_once_whatever_becomes_of_it(
    server: TinyApollo, tmp_path: Path
) -> None:
    """F52."""
    # Given a candidate of which nobody says whether it was taken
    server.publish(key="K1", a="1")
    server.publish(key="K2", a="bad")

    async def main() -> None:
        async with following(server, tmp_path, waits=refreshed_every(0.02)) as it:
            await it.offered({"a": "bad"})
            # When it is told of again and again, and pulled anew again and again
            server.script(
                "/notifications/v2", *(told(application=n) for n in range(900, 910)), hang
            )
            for task in list(server.connections):
                server.loop.call_soon_threadsafe(task.cancel)
            await it.until(lambda: len(server.asked("/notifications")) >= 10)
            await it.until(lambda: len(server.asked("/configs")) >= 20)
            # Then it is not offered again
            assert it.values == [{"a": "bad"}]

    asyncio.run(main())
