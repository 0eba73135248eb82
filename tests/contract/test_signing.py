"""Signed requests, against a server that verifies them over the raw bytes it was sent."""

import asyncio
import base64
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

import pytest

from skep.base.errors import UsageError
from skep.config.apollo.client import Apollo
from skep.config.apollo.failover import Failover
from skep.config.apollo.server import ServerAccess
from skep.config.apollo.signing import AccessKey, signature
from skep.config.errors import Forbidden
from skep.config.snapshots.snapshot import Snapshot
from tests.faulty import Behaviour, FaultyServer, Request, answer, listed, released, told
from tests.pulls import pull

T = TypeVar("T")
OLD, NEW = "0ld-s3cret", "n3w-s3cret"


@dataclass
class Gate:
    """Lets requests through that are signed with a secret it accepts, as Apollo does it.

    `ahead` is by how many seconds its clock is ahead, `stripped` the path that a proxy in front of
    it takes away.
    """

    accepted: set[str]
    ahead: float = 0.0
    stripped: str = ""
    refused: list[Request] = field(default_factory=list)

    def before(self, then: Behaviour) -> Behaviour:
        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            if self.allows(request):
                return await then(request, writer)
            self.refused.append(request)
            date = formatdate(time.time() + self.ahead, usegmt=True)
            await answer(401, {"status": 401}, {"Date": date})(request, writer)

        return behave

    def allows(self, request: Request) -> bool:
        timestamp = request.headers.get("timestamp", "0")
        if abs(time.time() + self.ahead - int(timestamp) / 1000) >= 60:
            return False
        text = f"{timestamp}\n{request.target.removeprefix(self.stripped)}".encode()
        proof = request.headers.get("authorization", "").split(":", 1)[-1]
        return any(
            proof == base64.b64encode(hmac.new(s.encode(), text, hashlib.sha1).digest()).decode()
            for s in self.accepted
        )


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


def guard(server: FaultyServer, gate: Gate, path: str = "") -> Gate:
    """Put a gate before everything that the server says."""
    server.script(f"{path}/configs/", gate.before(released("K1", a="1")))
    server.script(f"{path}/notifications/v2", gate.before(told(application=7)))
    return gate


def use(
    server: FaultyServer | str,
    act: Callable[[Apollo], Awaitable[T]],
    *secrets: str,
    file: Path | None = None,
    namespace: str = "application",
    **more: Any,
) -> T:
    key = AccessKey("orders", secrets, str(file) if file else "")
    url = server if isinstance(server, str) else server.url

    async def main() -> T:
        servers = Failover([url], access=ServerAccess(key=key))
        apollo = Apollo(servers, "orders", "blue", [namespace], **more)
        try:
            return await act(apollo)
        finally:
            await apollo.close()

    return asyncio.run(main())


def refusal(server: FaultyServer | str, *secrets: str, **more: Any) -> str:
    with pytest.raises(Forbidden) as caught:
        use(server, pull, *secrets, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_signature_is_that_of_apollo_s_own_test() -> None:
    target = "/configs/someAppId/default/application?ip=10.0.0.1"
    assert signature("someSecret", "1575018989200", target) == "WYjjyJFei6DYiaMlwZjew2O/Yqk="


def test_pulls_and_polls_are_signed_over_the_bytes_on_the_wire(server: FaultyServer) -> None:
    gate = guard(server, Gate({NEW}))

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        await apollo.changes()

    use(server, act, NEW, namespace="a b/ü+c", label="x&y =%20", data_center="São Paulo")
    assert gate.refused == []
    assert server.requests[0].headers["authorization"].startswith("Apollo orders:")


def test_a_meta_server_leads_to_servers_that_are_signed_to(server: FaultyServer) -> None:
    guard(server, Gate({NEW}))
    server.script("/services/config", listed(server.url))

    async def main() -> Snapshot:
        servers = Failover([], [server.url], access=ServerAccess(key=AccessKey("orders", [NEW])))
        apollo = Apollo(servers, "orders", "blue", ["application"])
        try:
            return await pull(apollo)
        finally:
            await apollo.close()

    assert asyncio.run(main()).values() == {"a": "1"}
    assert server.asked("/services")[0].query["appId"] == "orders"


def test_without_a_secret_the_refusal_says_so(server: FaultyServer) -> None:
    """F26."""
    guard(server, Gate({NEW}))
    assert "was not signed: there is no secret" in refusal(server)


def test_a_wrong_secret_is_diagnosed_and_never_shown(server: FaultyServer) -> None:
    """F26."""
    guard(server, Gate({NEW}))
    text = refusal(server, "wr0ng-s3cret")
    timestamp, target = server.requests[0].headers["timestamp"], server.requests[0].target
    assert repr(f"{timestamp}\n{target}") in text
    assert "s3cret" not in text
    assert "clock" not in text


def test_secrets_that_were_all_refused_are_tried_one_at_a_time(server: FaultyServer) -> None:
    """F26."""
    gate = guard(server, Gate({NEW}))

    async def act(apollo: Apollo) -> list[int]:
        counts = []
        for _ in range(4):
            with pytest.raises(Forbidden):
                await pull(apollo)
            counts.append(len(server.requests))
        gate.accepted.add("third")
        for _ in range(2):
            with suppress(Forbidden):
                await pull(apollo)
        await pull(apollo)
        return counts

    assert use(server, act, "first", "second", "third") == [3, 4, 5, 6]


@pytest.mark.parametrize("secrets", [(OLD, NEW), (NEW, OLD)])
def test_while_a_secret_is_exchanged_either_is_believed(
    server: FaultyServer, secrets: tuple[str, str]
) -> None:
    """F27."""
    gate = guard(server, Gate({OLD}))

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        gate.accepted = {OLD, NEW}
        await pull(apollo)
        gate.accepted = {NEW}
        await pull(apollo, full=True)
        before = len(gate.refused)
        await pull(apollo, full=True)
        assert len(gate.refused) == before  # what was believed last is tried first

    use(server, act, *secrets)
    assert len(gate.refused) <= 2


def test_a_secret_that_changes_in_its_file_is_used_at_once(
    server: FaultyServer, tmp_path: Path
) -> None:
    """F27."""
    gate = guard(server, Gate({OLD}))
    file = tmp_path / "secret"
    file.write_text(f"{OLD}\n")

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        gate.accepted = {NEW}
        with pytest.raises(Forbidden):
            await pull(apollo)
        replacement = tmp_path / "other"
        replacement.write_text(f"\n  {NEW}  \n")
        os.replace(replacement, file)
        await pull(apollo)

    use(server, act, file=file)


def test_a_file_that_is_gone_for_a_moment_costs_nothing(
    server: FaultyServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F27."""
    guard(server, Gate({NEW}))
    file = tmp_path / "secret"
    file.write_text(NEW)

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        file.unlink()
        for _ in range(3):
            await pull(apollo)

    use(server, act, file=file)
    assert caplog.text.count(f"{file} cannot be read") == 1
    assert NEW not in caplog.text


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), ("\n \n", "no secret")])
def test_a_file_without_a_secret_is_named_in_the_refusal(
    server: FaultyServer, tmp_path: Path, content: str | None, says: str
) -> None:
    guard(server, Gate({NEW}))
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    text = refusal(server, file=file)
    assert str(file) in text
    assert says in text


@pytest.mark.parametrize("ahead", [95.0, -3600.0, 400 * 86400.0])
def test_a_clock_that_differs_is_named_and_allowed_for(
    server: FaultyServer, ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    """F28."""
    gate = guard(server, Gate({NEW}, ahead=ahead))

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        await pull(apollo)

    use(server, act, NEW)
    assert len(gate.refused) == 1
    (line,) = [r.getMessage() for r in caplog.records if "clock" in r.getMessage()]
    said = float(line.partition(" is ")[2].partition(" s ")[0])
    assert said == pytest.approx(ahead, abs=5)


def test_a_clock_that_is_right_again_is_believed_again(server: FaultyServer) -> None:
    """F28."""
    gate = guard(server, Gate({NEW}, ahead=600))

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        gate.ahead = 0.0
        await pull(apollo)

    use(server, act, NEW)
    assert len(gate.refused) == 2


def test_a_wrong_secret_and_a_wrong_clock_are_told_apart(server: FaultyServer) -> None:
    """F28."""
    guard(server, Gate({NEW}, ahead=300))
    text = refusal(server, OLD)
    assert "clock is +300 s" in text or "clock is +299 s" in text or "clock is +301 s" in text
    assert len(server.requests) == 2


@pytest.mark.parametrize("stripped", ["", "/apollo"])
def test_a_path_in_front_is_signed_as_the_server_sees_it(
    server: FaultyServer, stripped: str
) -> None:
    """F29."""
    gate = guard(server, Gate({NEW}, stripped=stripped), "/apollo")

    async def act(apollo: Apollo) -> None:
        await pull(apollo)
        await pull(apollo)

    use(f"{server.url}/apollo/", act, NEW)
    assert len(gate.refused) == (1 if stripped else 0)


def test_a_redirect_to_the_same_server_is_followed_and_signed_anew(
    server: FaultyServer,
) -> None:
    """F42."""
    gate = Gate({NEW})
    moved = {"Location": "/v2/configs/orders/blue/application?x=1"}
    server.script("/configs/", gate.before(answer(307, headers=moved)))
    server.script("/v2/configs/", gate.before(released("K1", a="1")))
    assert use(server, pull, NEW).values() == {"a": "1"}
    assert gate.refused == []
    assert server.requests[1].target == moved["Location"]


def test_a_user_in_the_url_and_a_secret_exclude_each_other(server: FaultyServer) -> None:
    with pytest.raises(UsageError, match="leave one of them out") as caught:
        use(server.url.replace("://", "://user:pa55@"), pull, NEW)
    assert "pa55" not in str(caught.value)
