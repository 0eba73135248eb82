"""How a value for a setting of the platform is found."""

import pytest

from skep.base.errors import UsageError
from skep.config.options.endpoints import served
from skep.config.options.resolution import resolve
from skep.config.options.table import Options, changed, rows


def test_a_flag_wins_over_the_key_and_the_key_over_the_default() -> None:
    assert resolve({}, {}).port == 5200
    assert resolve({}, {"PLATFORM_PORT": "1"}).port == 1
    assert resolve({"port": 2}, {"PLATFORM_PORT": "1"}).port == 2


def test_a_flag_that_was_not_given_is_none_or_empty() -> None:
    flags = {"port": None, "namespace": ()}
    options = resolve(flags, {"PLATFORM_NAMESPACE": "a, b,,c"})
    assert (options.port, options.namespace) == (5200, ("a", "b", "c"))


def test_a_flag_that_can_be_repeated_also_takes_a_list() -> None:
    options = resolve({"config_server": ("http://a, http://b", "http://c"), "app_id": "x"}, {})
    assert options.config_server == ("http://a", "http://b", "http://c")


FOREIGN = {
    "APOLLO_CONFIG_SERVICE": ("config_server", "http://a,http://b", ("http://a", "http://b")),
    "APOLLO_CONFIGSERVICE": ("config_server", "http://a", ("http://a",)),
    "APOLLO_SERVER": ("config_server", "http://a", ("http://a",)),
    "APOLLO_META": ("config_meta", "http://a", ("http://a",)),
    "APP_ID": ("app_id", "shop", "shop"),
    "APOLLO_APP_ID": ("app_id", "shop", "shop"),
    "APOLLO_CLUSTER": ("cluster", "blue", "blue"),
    "IDC": ("data_center", "SHAJQ", "SHAJQ"),
    "APOLLO_NAMESPACES": ("namespace", "application,db", ("application", "db")),
    "APOLLO_CLIENT_IP": ("config_ip", "10.0.0.1", "10.0.0.1"),
    "host.ip": ("config_ip", "10.0.0.1", "10.0.0.1"),
    "APOLLO_LABEL": ("config_label", "canary", "canary"),
    "APOLLO_ACCESS_KEY_SECRET": ("config_secret", "s3cret", ("s3cret",)),
    "APOLLO_ACCESSKEY_SECRET": ("config_secret", "s3cret", ("s3cret",)),
    "APOLLO_BACKUP_OLD_ENV": ("backup_old_env", "true", True),
    "APOLLO_PULL_TIMEOUT": ("config_timeout", "3", 3.0),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_names_of_other_clients_are_understood(name: str) -> None:
    field, text, value = FOREIGN[name]
    assert (
        getattr(resolve({"app_id": "x"} if field != "app_id" else {}, {name: text}), field) == value
    )


def test_a_foreign_name_is_weaker_than_ours_wherever_that_stands() -> None:
    base = {"APP_ID": "theirs", "APOLLO_CLUSTER": "theirs"}
    options = resolve({}, {**base, "PLATFORM_APP_ID": "ours"}, base)
    assert (options.app_id, options.cluster) == ("ours", "theirs")
    assert resolve({"cluster": "flag"}, base, base).cluster == "flag"


def test_a_foreign_name_counts_in_the_process_environment_only() -> None:
    published = {"APP_ID": "a key of the app", "APOLLO_META": "no address at all"}
    options = resolve({}, published, {})
    assert (options.app_id, options.config_meta) == ("sample", ())


def test_a_foreign_value_that_cannot_be_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match="APOLLO_PULL_TIMEOUT is 'soon'"):
        resolve({}, {"APOLLO_PULL_TIMEOUT": "soon"})


def test_every_foreign_name_of_the_table_is_tested() -> None:
    assert {alias for row in rows() for alias in row.aliases} == set(FOREIGN)


def test_a_secret_is_not_in_what_is_shown_and_not_on_the_command_line() -> None:
    assert "s3cret" not in repr(resolve({}, {"PLATFORM_CONFIG_SECRET": "s3cret"}))
    (row,) = [row for row in rows() if row.name == "config_secret"]
    assert not row.flag


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
        ("PLATFORM_CONFIG_SERVER", "http://a,b"),
        ("PLATFORM_CONFIG_META", "apollo.meta"),
        ("PLATFORM_CONFIG_POLICY", "maybe"),
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
    with pytest.raises(UsageError, match="--app-id"):
        resolve({}, {"APOLLO_META": "http://host"})
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
    old, new = resolve({}, {}), resolve({"admin_port": 1, "web_workers": 7}, {})
    assert changed(old, new) == {"PLATFORM_ADMIN_PORT": "restart", "PLATFORM_WEB_WORKERS": "live"}
    assert changed(old, old) == {}


def test_listen_replaces_host_and_port_and_tls_is_for_all_of_them() -> None:
    (simple,) = served(resolve({"host": "::1", "port": 1}, {}))
    assert (simple.name, simple.address, simple.scheme) == ("http", "[::1]:1", "http")
    several = resolve(
        {"port": 1, "tls_cert": "c"}, {"PLATFORM_LISTEN": ":2,[::1]:3", "PLATFORM_UDS": "/s"}
    )
    assert [(e.name, e.address) for e in served(several)] == [
        ("http", "0.0.0.0:2"),
        ("http-2", "[::1]:3"),
        ("http-3", "unix:/s"),
    ]
    assert {endpoint.scheme for endpoint in served(several)} == {"https"}


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"PLATFORM_LISTEN": "localhost"}, "HOST:PORT"),
        ({"PLATFORM_LISTEN": "127.0.0.1:1,0.0.0.0:1"}, "0.0.0.0:1 is wanted twice"),
        ({"PLATFORM_PORT": "5201"}, "--port or --admin-port"),
        ({"PLATFORM_TLS_KEY": "k"}, "--tls-key without"),
    ],
)
def test_listeners_that_cannot_be_are_refused(environment: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve({}, environment)


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("TRUSTED_PROXIES", "localhost", "10.0.0.1, 10.0.0.0/8, unix, *"),
        ("TRUSTED_PROXIES", "unix,10.0.0.0/33", "10.0.0.1, 10.0.0.0/8, unix, *"),
        ("ROOT_PATH", "shop", "a path like /shop"),
        ("ROOT_PATH", "/shop/", "a path like /shop"),
        ("ROOT_PATH", "//shop", "a path like /shop"),
        ("ROOT_PATH", "/shop/..", "a path like /shop"),
        ("ROOT_PATH", "/", "a path like /shop"),
        ("UDS_MODE", "rw-rw----", "three octal digits like 660"),
        ("UDS_MODE", "4660", "three octal digits like 660"),
        ("UDS_MODE", "68", "three octal digits like 660"),
        ("WEBSOCKET_ORIGINS", "shop.example", "origins like https://shop.example, or *"),
        (
            "WEBSOCKET_ORIGINS",
            "https://a,https://b/path",
            "origins like https://shop.example, or *",
        ),
    ],
)
def test_what_cannot_be_is_named_with_what_is_accepted(key: str, value: str, accepted: str) -> None:
    """B8, E10: proxies, prefixes and modes that make no sense."""
    with pytest.raises(UsageError) as raised:
        resolve({}, {f"PLATFORM_{key}": value})
    assert f"PLATFORM_{key}" in str(raised.value)
    assert accepted in str(raised.value)


def test_proxies_may_be_words_addresses_and_networks() -> None:
    trusted = resolve({}, {"PLATFORM_TRUSTED_PROXIES": "unix, *, 10.0.0.1, fd00::/8"})
    assert trusted.trusted_proxies == ("unix", "*", "10.0.0.1", "fd00::/8")
    assert resolve({}, {"PLATFORM_UDS_MODE": "0600"}).uds_mode == "0600"
