from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.env.layers import Layers, check_remote, is_machine_only
from skep.config.errors import Unusable
from skep.config.options.table import rows
from skep.config.snapshots.explain import places


def layers(**given: dict[str, str]) -> Layers:
    empty: dict[str, dict[str, str]] = {"base": {}, "local": {}, "remote": {}, "hand_written": {}}
    return Layers(**{**empty, **given})


def test_the_stronger_layer_wins() -> None:
    stack = layers(
        base={"A": "base"},
        local={"A": "local", "B": "local"},
        remote={"A": "remote", "B": "remote", "C": "remote"},
        hand_written={"A": "hand", "B": "hand", "C": "hand", "D": "hand"},
    )
    assert stack.resolve() == {"A": "base", "B": "local", "C": "remote", "D": "hand"}


def explained(key: str, stack: Layers) -> list[tuple[str, str, str]]:
    return [(place.key, place.layer, place.value) for place in places(key, stack, None, {})]


def test_an_explanation_names_every_layer_that_sets_the_key_winner_first() -> None:
    stack = layers(base={"A": "1"}, remote={"A": "3", "B": "9"}, hand_written={"A": "4"})
    assert explained("A", stack) == [
        ("A", "environment", "1"),
        ("A", "remote", "3"),
        ("A", ".env", "4"),
    ]
    assert explained("B", stack) == [("B", "remote", "9")]
    assert explained("C", stack) == []


def test_a_key_has_one_winner_whatever_its_case_and_every_spelling_has_its_value() -> None:
    stack = layers(
        base={"Mail_User": "base"},
        local={"mail_port": "local"},
        remote={"mail_host": "remote", "MAIL_PORT": "remote"},
        hand_written={"MAIL_HOST": "hand", "MAIL_USER": "hand"},
    )
    assert stack.resolve() == {
        "MAIL_HOST": "remote",
        "mail_host": "remote",
        "MAIL_PORT": "local",
        "mail_port": "local",
        "MAIL_USER": "base",
        "Mail_User": "base",
    }
    assert stack.winners() == {
        "MAIL_HOST": "remote",
        "MAIL_PORT": ".env.local",
        "MAIL_USER": "environment",
    }
    for spelling in ("MAIL_HOST", "mail_host", "Mail_Host"):
        assert explained(spelling, stack) == [
            ("mail_host", "remote", "remote"),
            ("MAIL_HOST", ".env", "hand"),
        ]
    assert stack.configured()["MAIL_USER"] == "hand"


def test_the_process_environment_may_spell_a_key_twice_and_is_passed_on_as_it_is() -> None:
    stack = layers(base={"http_proxy": "low", "HTTP_PROXY": "high"}, local={"Http_Proxy": "x"})
    assert stack.resolve() == {"http_proxy": "low", "HTTP_PROXY": "high", "Http_Proxy": "high"}


def test_a_file_that_spells_a_key_twice_with_different_values_is_refused(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MAIL_HOST=a\nmail_host=a\n")
    assert Layers.read(file, {}).resolve() == {"MAIL_HOST": "a", "mail_host": "a"}
    (tmp_path / ".env.local").write_text("MAIL_HOST=a\nmail_host=b\n")
    with pytest.raises(ConfigError, match=r"\.env\.local gives MAIL_HOST and mail_host different"):
        Layers.read(file, {})


def test_a_remote_value_is_a_literal() -> None:
    assert layers(base={"A": "1"}, remote={"B": "${A}"}).resolve()["B"] == "${A}"


@pytest.mark.parametrize(
    "name",
    [
        *(row.key for row in rows() if row.machine_only),
        *("platform_static", "Platform_Tls_Key"),
        *("HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE"),
        *("NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "GIT_SSH_COMMAND", "PAGER", "BASH_FUNC_x"),
        *("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD", "LD_LIBRARY_PATH"),
        *("LD_AUDIT", "BASH_ENV", "ENV", "IFS", "PROMPT_COMMAND", "PS1", "PLATFORM_CONFIG_CHECK"),
        *("PLATFORM_PLUGINS", "PLATFORM_DATA_DIR", "PLATFORM_ENV", "PLATFORM_ENV_FILE"),
        *("PLATFORM_USER", "PLATFORM_GROUP", "PLATFORM_LOG_FILE"),
    ],
)
def test_remote_may_not_set_what_chooses_what_is_run_read_shown_or_written(name: str) -> None:
    with pytest.raises(Unusable, match=f"sets {name},") as caught:
        layers(remote={"A": "1", name: "x"}).resolve()
    assert caught.value.reason == "denied"


def test_people_may_set_what_remote_may_not() -> None:
    assert layers(local={"PYTHONPATH": "x"}, hand_written={"ENV": "y"}).resolve() == {
        "PYTHONPATH": "x",
        "ENV": "y",
    }


def test_names_that_only_look_like_denied_ones_are_allowed() -> None:
    check_remote(["PATHS", "MY_PATH", "env", "ENVIRONMENT", "OLD_PRELOAD", "IFSX", "GIT_COMMIT"])


@pytest.mark.parametrize(
    "key",
    [
        *("PLATFORM_STATIC", "PLATFORM_TLS_CERT", "PLATFORM_TLS_KEY", "PLATFORM_CONFIG_SECRET"),
        *("PLATFORM_CONFIG_SECRET_FILE", "PLATFORM_CONFIG_CA", "PLATFORM_CONFIG_SAMPLES"),
        *("PLATFORM_CONFIG_SERVER", "PLATFORM_CONFIG_META", "PLATFORM_APP_ID", "PLATFORM_OFFLINE"),
        *("PLATFORM_RLIMIT_CORE", "PLATFORM_NEW_PRIVILEGES", "PLATFORM_PLUGINS"),
    ],
)
def test_what_reads_files_or_grants_rights_is_of_this_machine_only(key: str) -> None:
    assert is_machine_only(key)


def test_a_remote_key_cannot_reach_a_variable_of_the_system_through_its_other_spelling() -> None:
    stack = layers(remote={"env": "prod"}, hand_written={"ENV": "/etc/shrc"})
    with pytest.raises(Unusable, match=r"sets env and \.env sets ENV"):
        stack.resolve()
    stronger = layers(remote={"env": "prod"}, local={"ENV": "/etc/shrc"})
    assert stronger.resolve() == {"env": "/etc/shrc", "ENV": "/etc/shrc"}


def test_a_managed_block_of_an_earlier_version_does_not_keep_the_platform_from_starting() -> None:
    stack = layers(remote={"PLATFORM_STATIC": "/", "PORT": "1"}).without_machine_only()
    assert stack.resolve() == {"PORT": "1"}


def test_values_do_not_show_in_a_repr() -> None:
    assert "s3cret" not in repr(layers(base={"A": "s3cret"}, remote={"B": "s3cret"}))
