"""What workers are not given."""

from skep.config.options.resolution import environment_of_workers, options_of_workers, resolve


def test_workers_get_no_credential_of_the_config_service_under_any_of_its_names() -> None:
    environment = {
        "PLATFORM_CONFIG_SERVER": "http://bee:hon3y@one:8080,http://two:8080",
        "APOLLO_META": "http://bee:hon3y@meta",
        "PLATFORM_CONFIG_SECRET": "hon3y",
        "APOLLO_ACCESS_KEY_SECRET": "hon3y",
        "PLATFORM_APP_ID": "shop",
        "DB_PASSWORD": "of the plugins",
    }
    assert environment_of_workers(environment) == {
        "PLATFORM_CONFIG_SERVER": "http://one:8080,http://two:8080",
        "APOLLO_META": "http://meta",
        "PLATFORM_APP_ID": "shop",
        "DB_PASSWORD": "of the plugins",
    }
    options = options_of_workers(resolve({}, environment))
    assert "hon3y" not in str(options.to_json())
    assert options.config_server == ("http://one:8080", "http://two:8080")
