"""Settings as options of a verb."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from skep.cli.options import platform_options

LARAVELS = {
    "--apollo-server": ("http://a", "config_server", ("http://a",)),
    "--apollo-app-id": ("shop", "app_id", "shop"),
    "--apollo-cluster": ("blue", "cluster", "blue"),
    "--apollo-namespaces": ("db", "namespace", ("db",)),
    "--apollo-client-ip": ("10.0.0.1", "config_ip", "10.0.0.1"),
    "--apollo-pull-timeout": ("3", "config_timeout", 3.0),
}


def run(*arguments: str) -> tuple[dict[str, Any], str]:
    taken: dict[str, Any] = {}

    @click.command()
    @platform_options()
    def verb(**flags: Any) -> None:
        taken.update(flags)

    result = CliRunner().invoke(verb, arguments)
    assert result.exit_code == 0, result.output
    return taken, result.output


@pytest.mark.parametrize("option", LARAVELS)
def test_the_options_of_laravels_are_understood(option: str) -> None:
    text, name, value = LARAVELS[option]
    assert run(option, text)[0][name] == value
    assert run(f"{option}={text}")[0][name] == value


def test_the_one_of_laravels_that_takes_no_value_is_understood() -> None:
    assert run("--apollo-backup-old-env")[0]["backup_old_env"] is True


def test_either_name_may_be_repeated() -> None:
    taken, _ = run("--namespace", "a", "--apollo-namespaces", "b")
    assert taken["namespace"] == ("a", "b")


def test_foreign_options_and_secrets_are_not_in_the_help() -> None:
    _, text = run("--help")
    assert "--config-server" in text
    assert "apollo-" not in text
    assert "--config-secret " not in text


def test_the_help_names_the_unit_of_a_time() -> None:
    assert "--stop-delay SECONDS" in run("--help")[1]
