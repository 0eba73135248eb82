"""A config service that signs, stands in for another, comes late, or is not there at all."""

from pathlib import Path

from dotenv import dotenv_values

from tests.contract.test_signing import Gate
from tests.faulty import TinyApollo, answer
from tests.platform_process import Platform
from tests.support import free_port, wait_until

SECRET = "n0t-to-be-shown"


def test_with_the_options_of_laravels_it_follows_a_signed_service_and_starts_offline_later(
    sampled: Platform,
) -> None:
    # Given a service that verifies signatures, behind one that fails
    sampled.environment["APOLLO_ACCESS_KEY_SECRET"] = SECRET
    where = ["--apollo-app-id=shop", "--apollo-namespaces=application,greeting.yaml"]
    with TinyApollo() as broken, TinyApollo() as server:
        gate = Gate({SECRET})
        server.script("/configs/", gate.before(server._config))
        server.script("/notifications/v2", gate.before(server._notify))
        broken.script("/", answer(503))
        broken.script("/configs/", answer(503))
        broken.script("/notifications/v2", answer(503))
        server.publish("application", GREETING="overridden", PORT_AS_TEXT="0123")
        server.publish("greeting.yaml", content="GREETING: 'yes'\nlist: [a, 1.0]\n")
        # When it is started with both
        sampled.start("--enable-apollo", f"--apollo-server={broken.url},{server.url}", *where)
        # Then documents are keys, and later namespaces override earlier ones
        assert sampled.get()["greeting"] == "yes"
        assert dotenv_values(sampled.env_file) == {
            "GREETING": "yes",
            "PORT_AS_TEXT": "0123",
            "list_0_": "a",
            "list_1_": "1.0",
        }
        server.publish("greeting.yaml", content="GREETING: later\n")
        wait_until(lambda: sampled.get()["greeting"] == "later")
        assert gate.refused == []
        sampled.stop()
        asked = len(server.requests) + len(broken.requests)
        # And when it is started offline, nobody is asked
        sampled.start("--offline", f"--config-server={server.url}", *where)
        assert sampled.get()["greeting"] == "later"
        assert sampled.status()["config"]["source"] == "cache"
        assert len(server.requests) + len(broken.requests) == asked
    assert SECRET not in sampled.output()


def test_who_needs_no_config_starts_without_and_takes_it_when_the_service_comes(
    sampled: Platform,
) -> None:
    port = free_port()
    sampled.env_file.write_text("HAND=written\n")
    arguments = (f"--config-server=http://127.0.0.1:{port}", "--app-id=shop")
    sampled.start(*arguments, "--config-policy=optional")
    assert sampled.get()["greeting"] == "Hello"
    status = sampled.status()["config"]
    assert (status["source"], status["reason"]) == ("none", "connect")
    server = TinyApollo(port=port)
    server.publish(GREETING="at last")
    with server:
        wait_until(lambda: sampled.get()["greeting"] == "at last", deadline=60.0)
        wait_until(lambda: sampled.status()["config"]["source"] == "remote")
    assert dotenv_values(sampled.env_file)["HAND"] == "written"


def test_offline_without_any_cache_env_is_what_there_is(sampled: Platform, tmp_path: Path) -> None:
    sampled.env_file.write_text("GREETING=by hand\n")
    sampled.start("--offline")
    assert sampled.get()["greeting"] == "by hand"
    assert "configserver.0@0" not in sampled.pids()
    assert dotenv_values(sampled.env_file)["GREETING"] == "by hand"


def test_who_requires_the_service_does_not_start_from_what_was_applied_but_goes_on_serving_it(
    sampled: Platform,
) -> None:
    sampled.environment["PLATFORM_CONFIG_TIMEOUT"] = "1"
    with TinyApollo() as server:
        server.publish(GREETING="once")
        arguments = (f"--config-server={server.url}", "--app-id=shop", "--config-policy=require")
        sampled.start(*arguments)
        # When the agent is killed while the service is down
        for prefix in ("/configs/", "/notifications/v2"):
            server.script(prefix, answer(503))
        asked = len(server.asked("/configs"))
        sampled.kill(sampled.pids("agent.0")["agent.0@0"])
        wait_until(lambda: len(server.asked("/configs")) > asked + 1)
        assert sampled.get()["greeting"] == "once"
        # Then it follows the service again as soon as that is back
        server.well("/configs/", "/notifications/v2")
        server.publish(GREETING="twice")
        wait_until(lambda: sampled.get()["greeting"] == "twice", deadline=30.0)
        sampled.stop()
        # But a start needs the service
        server.script("/configs/", answer(401))
        sampled.start(*arguments, ready=False)
        assert sampled.wait_end() == 4
        assert "--config-policy require" in sampled.output()
        assert "check the credentials" in sampled.output()
    assert dotenv_values(sampled.env_file)["GREETING"] == "twice"
