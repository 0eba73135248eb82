"""Typed views of the environment."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest
from pydantic import AliasChoices, BaseModel, Field, Secret, SecretBytes, SecretStr, ValidationError

from skep.config.env.layers import Layers
from skep.config.env.settings import Epoch, Live, Settings, current_epoch, enter, pin, reread


class Server(BaseModel):
    host: str
    port: int = 25


class MailSettings(Settings, prefix="MAIL_"):
    sender: str
    tries: int = 3
    rate: Live[float] = 1.5
    hosts: list[str] = Field(default_factory=list)
    servers: dict[str, Server] = Field(default_factory=dict)
    either: str | list[int] = "none"
    maybe: int | None = None
    mode: Literal["plain", "tls"] = "plain"
    key: SecretStr = SecretStr("")
    folder: Path = Path("/tmp")
    on: Live[bool] = False
    url: str = Field("none", validation_alias=AliasChoices("SMTP_URL", "MAIL_URL"))


def read(**environment: str) -> MailSettings:
    return Epoch({"MAIL_SENDER": "a@b", **environment}).settings(MailSettings)


def test_fields_are_read_by_prefix_and_name_whatever_the_case() -> None:
    assert read(mail_tries="5").tries == 5
    assert read(MAIL_TRIES="6", mail_tries="5").tries == 6


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("rate", "0.25", 0.25),
        ("hosts", '["a", "b"]', ["a", "b"]),
        ("servers", '{"x": {"host": "h"}}', {"x": Server(host="h")}),
        ("either", "plain text", "plain text"),
        ("either", "123", "123"),
        ("either", "[1, 2]", [1, 2]),
        ("maybe", "7", 7),
        ("mode", "tls", "tls"),
        ("key", "s3cret", SecretStr("s3cret")),
        ("folder", "/var", Path("/var")),
        ("on", "yes", True),
    ],
)
def test_texts_become_values(key: str, text: str, value: object) -> None:
    assert getattr(read(**{f"MAIL_{key.upper()}": text}), key) == value


def test_a_live_change_ends_where_a_process_that_is_born_after_it_begins() -> None:
    """B3: a key that two layers spell differently is changed and deleted live."""
    hand = {"MAIL_SENDER": "hand"}
    for remote in ({"mail_sender": "one"}, {"mail_sender": "two"}, {"Mail_Sender": "x"}, {}):
        before = Layers({}, {}, {"mail_sender": "old"}, hand).resolve()
        after = Layers({}, {}, remote, hand).resolve()
        changes = {k: after.get(k) for k in before.keys() | after.keys()}
        changed, born = Epoch(before).changed(changes), Epoch(after)
        assert changed.settings(MailSettings) == born.settings(MailSettings)
        assert born.settings(MailSettings).sender == next(iter(remote.values()), "hand")


def test_an_alias_is_a_key_of_its_own_and_the_first_that_is_set_counts() -> None:
    assert read(MAIL_URL="second").url == "second"
    assert read(SMTP_URL="first", MAIL_URL="second").url == "first"


@pytest.mark.parametrize(
    "environment",
    [{"MAIL_TRIES": "many"}, {"MAIL_MODE": "open"}, {"MAIL_HOSTS": "[broken"}, {"MAIL_HOSTS": "a"}],
)
def test_what_does_not_fit_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        read(**environment)


class Inner(BaseModel):
    word: SecretStr


class Declared(Settings, prefix="D_"):
    plain: str = ""
    hidden: SecretStr = SecretStr("")
    raw: SecretBytes | None = None
    wrapped: Live[Secret[int]] = Secret(1)
    many: list[SecretStr] = Field(default_factory=list)
    nested: dict[str, Inner] = Field(default_factory=dict)
    marked: str = Field("", json_schema_extra={"secret": True}, validation_alias="MARK")
    unmarked: str = Field("", json_schema_extra={"secret": False})


def test_fields_that_are_declared_secret_say_so_by_their_keys() -> None:
    names = {"D_HIDDEN", "D_RAW", "D_WRAPPED", "D_MANY", "D_NESTED", "MARK"}
    assert Declared.secret_keys() == names


def test_keys_say_which_are_live() -> None:
    keys = MailSettings.environment_keys()
    assert {key for key, live in keys.items() if live} == {"MAIL_RATE", "MAIL_ON"}
    assert {"MAIL_SENDER", "SMTP_URL", "MAIL_URL"} <= keys.keys()


def test_settings_are_frozen_and_the_same_object_every_time() -> None:
    epoch = Epoch({"MAIL_SENDER": "a"})
    assert epoch.settings(MailSettings) is epoch.settings(MailSettings)
    with pytest.raises(ValidationError, match="frozen"):
        epoch.settings(MailSettings).tries = 4  # type: ignore[misc]


def test_two_classes_do_not_share_a_prefix_they_inherit_from_nobody() -> None:
    class Plain(Settings):
        tries: int = 0

    assert Plain.environment_keys() == {"TRIES": False}
    assert MailSettings.environment_keys()["MAIL_TRIES"] is False


def test_outside_of_a_worker_the_environment_of_the_process_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skep.config.env.settings._in_force", None)
    monkeypatch.setenv("MAIL_SENDER", "one")
    assert MailSettings.current().sender == "one"
    monkeypatch.setenv("MAIL_SENDER", "two")
    assert MailSettings.current().sender == "two"


def test_a_pinned_epoch_is_seen_to_the_end_and_by_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skep.config.env.settings._in_force", None)
    enter(Epoch({"MAIL_SENDER": "one"}))

    async def pinned() -> tuple[str, str]:
        pin()
        before = MailSettings.current().sender
        await asyncio.sleep(0)
        enter(current_epoch().changed({"MAIL_SENDER": "two"}))
        return before, await asyncio.to_thread(lambda: MailSettings.current().sender)

    async def main() -> None:
        assert await asyncio.create_task(pinned()) == ("one", "one")
        assert MailSettings.current().sender == "two"

    asyncio.run(main())


def test_rereading_tells_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skep.config.env.settings._in_force", None)
    enter(Epoch({"MAIL_SENDER": "one"}))
    assert reread([MailSettings], current_epoch().changed({"OTHER": "x"})) == []
    ((old, new),) = reread([MailSettings], current_epoch().changed({"MAIL_RATE": "2"}))
    assert (old.model_dump()["rate"], new.model_dump()["rate"]) == (1.5, 2.0)
    with pytest.raises(ValidationError):
        reread([MailSettings], current_epoch().changed({"MAIL_SENDER": None}))
