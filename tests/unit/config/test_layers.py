import pytest

from skep.config.layers import Layers, check_remote
from skep.config.trouble import Unusable


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


def test_an_explanation_names_every_layer_that_sets_the_key_winner_first() -> None:
    stack = layers(base={"A": "1"}, remote={"A": "3", "B": "9"}, hand_written={"A": "4"})
    assert stack.explain("A") == [("environment", "1"), ("remote", "3"), (".env", "4")]
    assert stack.explain("B") == [("remote", "9")]
    assert stack.explain("C") == []


def test_a_remote_value_is_a_literal() -> None:
    assert layers(base={"A": "1"}, remote={"B": "${A}"}).resolve()["B"] == "${A}"


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD", "LD_LIBRARY_PATH"),
        *("LD_AUDIT", "BASH_ENV", "ENV", "IFS", "PROMPT_COMMAND", "PS1", "PLATFORM_CONFIG_CHECK"),
        *("PLATFORM_PLUGINS", "PLATFORM_DATA_DIR", "PLATFORM_ENV", "PLATFORM_ENV_FILE"),
        *("PLATFORM_USER", "PLATFORM_GROUP", "PLATFORM_LOG_FILE"),
    ],
)
def test_remote_may_not_set_what_decides_which_code_runs_as_whom_and_where(name: str) -> None:
    with pytest.raises(Unusable, match=f"sets {name},") as caught:
        layers(remote={"A": "1", name: "x"}).resolve()
    assert caught.value.reason == "denied"


def test_people_may_set_what_remote_may_not() -> None:
    assert layers(local={"PYTHONPATH": "x"}, hand_written={"ENV": "y"}).resolve() == {
        "PYTHONPATH": "x",
        "ENV": "y",
    }


def test_names_that_only_look_like_denied_ones_are_allowed() -> None:
    check_remote(["PATHS", "MY_PATH", "env", "ENVIRONMENT", "OLD_PRELOAD", "IFSX"])


def test_values_do_not_show_in_a_repr() -> None:
    assert "s3cret" not in repr(layers(base={"A": "s3cret"}, remote={"B": "s3cret"}))
