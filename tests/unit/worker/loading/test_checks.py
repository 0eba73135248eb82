"""Settings are validated before anything may serve."""

from typing import Literal

import pytest
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from skep.api.cron import Tick, Trigger, cron
from skep.api.plugin import Plugin
from skep.config.env.settings import Settings
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.checks import check_settings, crontab_triggers


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


@pytest.mark.parametrize(
    ("trigger", "warns"),
    [
        (CronTrigger.from_crontab("0 0 * * 0"), True),
        (CronTrigger.from_crontab("*/5 0 13 jan 1-5"), True),
        (CronTrigger.from_crontab("0 0 13 * fri"), True),
        (CronTrigger.from_crontab("0 0 * * */2"), True),
        (CronTrigger.from_crontab("0 0 * * mon-fri"), False),
        (CronTrigger.from_crontab("0 0 */2 * mon"), False),
        (CronTrigger.from_crontab("0 0 13 * *"), False),
        (CronTrigger(day_of_week=0, hour=3), False),
        (IntervalTrigger(hours=1), False),
    ],
)
def test_a_trigger_of_from_crontab_that_means_other_days_is_warned_of(
    trigger: Trigger, warns: bool
) -> None:
    @cron(trigger=trigger)
    def sweep(tick: Tick) -> None: ...

    @cron("0 0 * * 0")
    def report(tick: Tick) -> None: ...

    found = crontab_triggers(Catalog.collect({"orders": Plugin(crons=[sweep, report])}))
    assert len(found) == warns
    assert not found or found[0].startswith("The trigger of the cron orders.sweep looks like")


def test_the_warning_has_the_cron_string() -> None:
    @cron(trigger=CronTrigger.from_crontab("*/5 0 13 jan 1-5"))
    def sweep(tick: Tick) -> None: ...

    (found,) = crontab_triggers(Catalog.collect({"orders": Plugin(crons=[sweep])}))
    assert 'CronTrigger.from_crontab("*/5 0 13 jan 1-5")' in found
