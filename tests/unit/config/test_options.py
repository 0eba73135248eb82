"""How a value for a setting of the platform is found."""

import pytest

from skep.base.errors import UsageError
from skep.config.options import Options, changed, resolve, rows


def test_a_flag_wins_over_the_key_and_the_key_over_the_default() -> None:
    assert resolve({}, {}).port == 5200
    assert resolve({}, {"PLATFORM_PORT": "1"}).port == 1
    assert resolve({"port": 2}, {"PLATFORM_PORT": "1"}).port == 2


def test_a_flag_that_was_not_given_is_none_or_empty() -> None:
    flags = {"port": None, "namespace": ()}
    options = resolve(flags, {"PLATFORM_NAMESPACE": "a, b,,c"})
    assert (options.port, options.namespace) == (5200, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("yes", True), ("off", False), ("", False)]
)
def test_words_for_true_and_false(text: str, value: bool) -> None:
    assert resolve({}, {"PLATFORM_WATCH": text}).watch is value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("PLATFORM_PORT", "http"),
        ("PLATFORM_PORT", "65536"),
        ("PLATFORM_WEB_WORKERS", "-1"),
        ("PLATFORM_WATCH", "perhaps"),
        ("PLATFORM_LOG_LEVEL", "loud"),
        ("PLATFORM_DRAIN_TIMEOUT", "nan"),
        ("PLATFORM_CONFIG_SERVER", "localhost:8080"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_key(key: str, text: str) -> None:
    with pytest.raises(UsageError, match=key):
        resolve({}, {key: text})


def test_a_refused_address_is_shown_without_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        resolve({}, {"PLATFORM_CONFIG_SERVER": "ftp://me:pw@host"})
    assert "pw" not in str(caught.value)


def test_whoever_has_a_config_service_says_whose_configuration() -> None:
    with pytest.raises(UsageError, match="--app-id"):
        resolve({}, {"PLATFORM_CONFIG_SERVER": "http://host"})
    assert resolve({}, {}).app_id == "sample"


def test_every_row_has_a_key_a_meaning_and_a_default_that_is_good() -> None:
    assert len({row.key for row in rows()}) == len(rows())
    for row in rows():
        assert row.text
        assert row.text[0].isupper() or row.text[0] == "`" or row.words
    resolve({}, {})


def test_options_survive_the_way_to_a_child() -> None:
    options = resolve({"namespace": ("a", "b")}, {})
    assert Options.from_json(options.to_json()) == options


def test_changes_are_told_apart_by_what_they_take() -> None:
    old, new = resolve({}, {}), resolve({"port": 1, "web_workers": 7}, {})
    assert changed(old, new) == {"PLATFORM_PORT": "restart", "PLATFORM_WEB_WORKERS": "live"}
    assert changed(old, old) == {}
