"""Secrets stay out of what people read."""

import pytest

from skep.base.logs.masking import (
    Masker,
    declare,
    declared,
    is_secret,
    mask_document,
    mask_url,
    mask_value,
    secrets_in,
)


@pytest.mark.parametrize(
    "key",
    ["PASSWORD", "DB_PASSWORD", "db.password", "API_KEY", "api-key", "apikey", "SECRET_TOKEN",
     "MAIL_DSN", "AWS_SECRET_ACCESS_KEY", "private_key_pem", "passwd", "DB_PWD", "Pwd", "MAIL_PASS",
     "mail.pass", "AES_KEY", "AES_KEY_2", "AES_KEYS", "awsKey", "dbPwd", "KEY_SALT", "SALT", "PIN",
     "tls.pem", "CARD_PIN_OLD", "SLACK_HOOK", "HOOK_URL", "WEBHOOKS", "SESSION_COOKIE", "OTP_SEED",
     "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"],
)  # fmt: skip
def test_names_that_hide_their_value(key: str) -> None:
    assert is_secret(key)
    assert mask_value(key, "open sesame") == "******"


@pytest.mark.parametrize(
    "key",
    [
        "GREETING",
        "HOST",
        "KEYBOARD",
        "MONKEY",
        "PATH",
        "KEY",
        "PWD",
        "OLDPWD",
        "PUBLIC_KEY",
        "cache-key",
        "KEY_PREFIX",
        "COMPASS",
        "BYPASS",
        "PINNED",
        "SPIN",
        "PLATFORM_TLS_KEY",
    ],
)
def test_names_that_do_not(key: str) -> None:
    assert not is_secret(key)
    assert mask_value(key, "open sesame") == "open sesame"


def test_urls_lose_user_and_password() -> None:
    assert mask_url("http://reader:pw@host:8080/x") == "http://host:8080/x"
    assert mask_value("URL", "redis://:pw@host") == "redis://host"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("DB_PASSWORD=hunter22 host=a", "DB_PASSWORD=****** host=a"),
        ('{"api_key": "abc def", "n": 1}', '{"api_key": ******, "n": 1}'),
        ("token: Bearer abc.def", "token: ******"),
        ("see http://me:pw@host/x", "see http://******@host/x"),
        ("nothing to hide = here", "nothing to hide = here"),
        ("Server=db;Uid=bee;Pwd=honey;Port=1", "Server=db;Uid=bee;Pwd=******;Port=1"),
        ("{'mail_pass': 'a b', 'pin': '12'}", "{'mail_pass': ******, 'pin': ******}"),
        (r"{\"aes_key\": \"a b\", \"n\": 1}", r"{\"aes_key\": ******, \"n\": 1}"),
        ("release_key=abc cache_key: x", "release_key=abc cache_key: x"),
        ("password='a' then token=b", "password=****** then token=******"),
        ("x -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- y", "x ****** y"),
        ("x -----BEGIN CERTIFICATE-----", "x -----BEGIN CERTIFICATE-----"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln!", "jwt ******!"),
        ("aws AKIAABCDEFGHIJKLMNOP, ghp_0123456789abcdefghij", "aws ******, ******"),
        ("at https://hooks.slack.com/services/T/B/x now", "at https://hooks.slack.com/****** now"),
        ("https://discord.com/api/webhooks/123456/ab", "https://discord.com/******"),
        ("https://api.telegram.org/bot1:AAA/send", "https://api.telegram.org/******"),
        ("https://x.example/a?page=2&sig=abc#top", "https://x.example/a?page=2&sig=******#top"),
        ("https://x.example/webhook-docs", "https://x.example/webhook-docs"),
    ],
)
def test_text_is_masked_by_the_names_in_it(text: str, masked: str) -> None:
    assert Masker()(text) == masked


@pytest.mark.parametrize(
    "part",
    [
        "x",
        "a-",
        "a.",
        "token",
        "token ",
        "token:",
        'token="',
        "a://",
        "a://b",
        "://@",
        "= ",
        "bearer ",
        "k=v ",
        "eyJ",
        "eyJaaaaaaaaaa.",
        "sk-",
        "://hook/",
        "-----BEGIN PRIVATE KEY-----",
        "token='a token=\"",
        "\\",
        "_key",
    ],
)
def test_a_long_text_takes_a_time_that_grows_with_its_length_alone(part: str) -> None:
    # If it grew with the square of it, this would not end before somebody ends it
    text = part * (500_000 // len(part))
    masked = Masker(["s3cr3t-value"])(f"{text} http://me:pw@host s3cr3t-value api_key='1 2'")
    assert not any(secret in masked[-100:] for secret in ("pw", "s3cr3t-value", "1 2"))
    assert mask_value("BLOB", text) is not None


def test_known_values_are_found_wherever_they_stand() -> None:
    masker = Masker(secrets_in({"DB_PASSWORD": "s3cr3t-value", "HOST": "visible-host"}))
    assert masker("it said s3cr3t-value on visible-host") == "it said ****** on visible-host"


def test_a_secret_too_short_to_tell_from_text_is_left_alone() -> None:
    assert Masker(["a"])("a banana") == "a banana"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Masker(["secret", "secret-and-more"])("secret-and-more") == "******"


@pytest.mark.parametrize(
    "value",
    ["9f86d081884c7d659a2feaa0c55ad015", "aB3dE5fG7hI9jK1lM2nO", "a, aB3dE5fG7hI9jK1lM2nO",
     "q3X/7bT+9zLk2mVw8RsY1cNf5hJd=="],
)  # fmt: skip
def test_a_value_that_looks_like_a_key_is_masked_beside_any_name(value: str) -> None:
    assert mask_value("THING", value) == "******"


@pytest.mark.parametrize(
    "value",
    ["my-service-name-v2-production-eu", "ReportService2ProductionEurope2", "20261123T120304Z",
     "/usr/local/lib/python3.11/site-packages/x1y2", "550e8400-e29b-41d4-a716-446655440000",
     "db1.eu-west-1.rds.amazonaws.com", "1234567890123456789012", "Hello from the hive"],
)  # fmt: skip
def test_a_value_that_is_only_long_is_shown(value: str) -> None:
    assert mask_value("THING", value) == value


def test_what_is_declared_is_secret_whatever_its_case_and_in_texts_too() -> None:
    assert not is_secret("RUNE_GLYPH")
    declare(["rune_glyph", "Ogham_*", ""])
    assert {"RUNE_GLYPH", "OGHAM_*"} <= set(declared())
    assert is_secret("Rune_Glyph")
    assert is_secret("ogham_7")
    assert not is_secret("OGHAM")
    assert Masker()("rune_glyph=abc") == "rune_glyph=******"


def test_a_document_is_masked_by_the_names_of_its_fields_and_ids_are_not() -> None:
    the_id = "9f86d081884c7d659a2feaa0c55ad015"
    document = {
        "user": {
            "password": "x",
            "pins": [1],
            "pin": 1234,
            "id": the_id,
        },
        "notes": ["token=abc", None, 7],
        "api_key": None,
    }
    assert mask_document(document) == {
        "user": {"password": "******", "pins": [1], "pin": "******", "id": the_id},
        "notes": ["token=******", None, 7],
        "api_key": None,
    }


def test_the_password_of_a_url_is_a_known_value() -> None:
    masker = Masker(secrets_in({"DATABASE": "postgres://bee:honey-pot@db/hive"}))
    assert masker("wrong password honey-pot for bee") == "wrong password ****** for bee"
