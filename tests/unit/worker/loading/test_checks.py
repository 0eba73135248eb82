"""Settings are validated before anything may serve."""

from typing import Literal

import pytest

from skep.api.plugin import Plugin
from skep.config.env.settings import Settings
from skep.worker.loading.checks import check_settings


class MailSettings(Settings, prefix="CHECKED_MAIL_"):
    host: str
    port: int = 25
    mode: Literal["plain", "tls"] = "plain"
    hosts: tuple[str, ...] = ()


PLUGINS = {"mail": Plugin(settings=[MailSettings])}


def test_what_fits_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKED_MAIL_HOST", "h")
    assert check_settings(PLUGINS) == []
    assert MailSettings.current().host == "h"


def test_every_field_that_does_not_fit_is_named_by_its_key_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHECKED_MAIL_PORT", "hunter22")
    monkeypatch.setenv("CHECKED_MAIL_MODE", "hunter22")
    problems = check_settings(PLUGINS)
    text = " ".join(problem.message for problem in problems)
    assert {problem.plugin for problem in problems} == {"mail"}
    for key in ("CHECKED_MAIL_HOST", "CHECKED_MAIL_PORT", "CHECKED_MAIL_MODE"):
        assert key in text
    assert "hunter22" not in text


def test_a_list_that_is_no_json_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKED_MAIL_HOST", "h")
    monkeypatch.setenv("CHECKED_MAIL_HOSTS", "[broken")
    (problem,) = check_settings(PLUGINS)
    assert "CHECKED_MAIL_HOSTS" in problem.message
    assert "broken" not in problem.message


def test_settings_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKED_MAIL_HOST", "h")
    with pytest.raises(ValueError, match="frozen"):
        MailSettings.current().host = "other"  # type: ignore[misc]
