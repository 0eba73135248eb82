"""`platform config-server` as a process: killed while it publishes, and its options."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.platform_process import COMMAND, Platform
from tests.support import free_port, wait_until

AT = "/apps/shop/clusters/default/namespaces/application"
BY = {"dataChangeCreatedBy": "ann", "dataChangeLastModifiedBy": "ann"}
Running = tuple[str, subprocess.Popen[bytes]]
KEYS = [f"key{n}" for n in range(40)]


@contextmanager
def config_server(
    platform: Platform, *options: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the verb in a platform's directory; yield its address and its process."""
    port = free_port()
    with platform.log.open("ab") as log:
        process = subprocess.Popen(
            [*COMMAND, "config-server", "--port", str(port), *options],
            cwd=platform.directory,
            env=platform.environment,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: url in platform.output())
        yield url, process
    finally:
        process.kill()
        process.wait()


def client(url: str, platform: Platform) -> httpx.Client:
    token = (platform.data_dir / "configserver" / "token").read_text().strip()
    return httpx.Client(base_url=url, trust_env=False, headers={"Authorization": token})


@dataclass
class Publisher:
    """Publishes releases all of whose values are one number, until the server dies."""

    url: str
    platform: Platform
    published: list[int] = field(default_factory=list)

    def run(self, first: int) -> None:
        with client(self.url, self.platform) as editor:
            for number in range(first, first + 10_000):
                items = [{"key": key, "value": str(number)} for key in KEYS]
                body = {"createItems": items, "dataChangeLastModifiedBy": "ann"}
                release = {"releaseTitle": str(number), "releasedBy": "ann"}
                try:
                    editor.post(f"{AT}/itemset", json=body).raise_for_status()
                    editor.post(f"/openapi/v1/envs/DEV{AT}/releases", json=release)
                except httpx.TransportError:
                    return
                self.published.append(number)


def test_killed_while_it_publishes_it_has_the_old_release_or_the_new_one(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    asks = {"appId": "shop", "cluster": "default"}
    asks["notifications"] = '[{"namespaceName":"application","notificationId":-1}]'
    first, newest = 1, 0
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            # Given a server that is killed in the middle of publishing
            with config_server(platform, "--open") as (url, process):
                publisher = Publisher(url, platform)
                publishing = pool.submit(publisher.run, first)
                wait_until(lambda p=publisher: len(p.published) > 5)  # type: ignore[misc]
                process.kill()
                publishing.result(30)
            # When it starts again
            with config_server(platform, "--open") as (url, _), client(url, platform) as reader:
                config = reader.get("/configs/shop/default/application").json()
                (news,) = reader.get("/notifications/v2", params=asks).json()
            # Then one whole release is in force: the last that was answered, or the one after
            (number,) = {int(value) for value in config["configurations"].values()}
            assert len(config["configurations"]) == len(KEYS)
            assert number - publisher.published[-1] in (0, 1)
            assert news["notificationId"] > newest
            first, newest = number + 1, news["notificationId"]


def test_it_asks_for_signatures_unless_it_is_open_and_holds_as_long_as_it_should(
    tmp_path: Path,
) -> None:
    platform = Platform(tmp_path)
    with config_server(platform, "--hold", "1") as (url, _):
        refused = httpx.get(f"{url}/configs/sample/default/application", trust_env=False)
        assert (refused.status_code, refused.json()["reason"]) == (401, "missing")
    asks = 'appId=sample&cluster=default&notifications=[{"namespaceName":"none"}]'
    with config_server(platform, "--hold", "1", "--open") as (url, _):
        assert httpx.get(f"{url}/configs/sample/default/application").status_code == 200
        assert httpx.get(f"{url}/notifications/v2?{asks}", timeout=30).status_code == 304
    assert "every user of this machine can read" in platform.output()
