"""Secrets stay out of what people read."""

import pytest

from skep.base.masking import Masker, is_secret, mask_url, mask_value


@pytest.mark.parametrize(
    "key",
    ["PASSWORD", "DB_PASSWORD", "db.password", "API_KEY", "api-key", "apikey", "SECRET_TOKEN",
     "MAIL_DSN", "AWS_SECRET_ACCESS_KEY", "private_key_pem", "passwd"],
)  # fmt: skip
def test_names_that_hide_their_value(key: str) -> None:
    assert is_secret(key)
    assert mask_value(key, "open sesame") == "******"


@pytest.mark.parametrize("key", ["GREETING", "HOST", "KEYBOARD", "MONKEY", "PATH", "KEY"])
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
    ],
)
def test_a_long_text_takes_a_time_that_grows_with_its_length_alone(part: str) -> None:
    # If it grew with the square of it, this would not end before somebody ends it
    text = part * (2_000_000 // len(part))
    masked = Masker(["s3cr3t-value"])(f"{text} http://me:pw@host s3cr3t-value api_key='1 2'")
    assert not any(secret in masked[-100:] for secret in ("pw", "s3cr3t-value", "1 2"))
    assert mask_value("BLOB", text) is not None


def test_known_values_are_found_wherever_they_stand() -> None:
    masker = Masker.of_environment({"DB_PASSWORD": "s3cr3t-value", "HOST": "visible-host"})
    assert masker("it said s3cr3t-value on visible-host") == "it said ****** on visible-host"


def test_a_secret_too_short_to_tell_from_text_is_left_alone() -> None:
    assert Masker(["a"])("a banana") == "a banana"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Masker(["secret", "secret-and-more"])("secret-and-more") == "******"
