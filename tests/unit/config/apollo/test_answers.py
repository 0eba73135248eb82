import json
from typing import Any

import pytest

from skep.config.apollo.answers import (
    Malformed,
    NeedsFull,
    NoConfigurations,
    PollEntry,
    notifications,
    release,
)
from skep.config.snapshots.snapshot import Release

OLD = Release("orders", "default", "application", "K1", {"a": "1", "b": "2", "c": "3"})


def body(**fields: Any) -> bytes:
    return json.dumps({"releaseKey": "K2", **fields}).encode()


def change(kind: str, key: str, **more: str) -> dict[str, str]:
    return {"key": key, "configurationChangeType": kind, **more}


def test_a_full_answer_gives_the_release_key_and_all_configurations() -> None:
    assert release(body(configurations={"a": "1", "": ""}), None) == ("K2", {"a": "1", "": ""})
    assert release(body(configurations={}, configSyncType="FullSync"), OLD) == ("K2", {})


def test_a_byte_order_mark_in_front_is_tolerated() -> None:
    assert release(b"\xef\xbb\xbf" + body(configurations={"a": "ä"}), None)[1] == {"a": "ä"}


def test_a_null_is_an_absent_key() -> None:
    assert release(body(configurations={"a": None, "b": "2"}), None)[1] == {"b": "2"}


def test_an_incremental_answer_is_applied_to_the_release_it_builds_on() -> None:
    changes = [
        change("ADDED", "d", newValue="4"),
        change("MODIFIED", "b", newValue="20"),
        change("DELETED", "c"),
        change("DELETED", "never-there"),
    ]
    sync = body(configSyncType="IncrementalSync", configurationChanges=changes)
    assert release(sync, OLD) == ("K2", {"a": "1", "b": "20", "d": "4"})
    assert OLD.configurations == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize(
    "fields",
    [
        {"configSyncType": "IncrementalSync", "configurationChanges": [change("RENAMED", "a")]},
        {"configSyncType": "IncrementalSync", "configurationChanges": [change("ADDED", "a")]},
        {"configSyncType": "IncrementalSync", "configurationChanges": ["a"]},
        {"configSyncType": "IncrementalSync", "configurationChanges": None},
        {"configSyncType": "IncrementalSync"},
        {"configSyncType": "QuantumSync", "configurations": {"a": "1"}},
        {"configSyncType": 7, "configurations": {"a": "1"}},
    ],
)
def test_what_cannot_be_applied_must_be_asked_for_in_full(fields: dict[str, Any]) -> None:
    with pytest.raises(NeedsFull):
        release(body(**fields), OLD)


def test_an_incremental_answer_to_who_has_nothing_must_be_asked_for_in_full() -> None:
    with pytest.raises(NeedsFull):
        release(body(configSyncType="IncrementalSync", configurationChanges=[]), None)


def test_an_answer_without_configurations_is_not_an_empty_release() -> None:
    with pytest.raises(NoConfigurations):
        release(body(), OLD)
    with pytest.raises(NoConfigurations):
        release(b"{}", None)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"<html>",
        b'{"configurations": {"a": "1"}, "releaseKey": "K',
        b"[]",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"releaseKey": "K2", "configurations": {"a": "\xff"}}',
        body(configurations=None),
        body(configurations=[]),
        body(configurations="a=1"),
        body(configurations={"a": 1}),
        body(configurations={"a": True}),
        body(configurations={"a": {"b": "1"}}),
        json.dumps({"configurations": {"a": "1"}}).encode(),
        json.dumps({"configurations": {"a": "1"}, "releaseKey": ""}).encode(),
        json.dumps({"configurations": {"a": "1"}, "releaseKey": "K\n"}).encode(),
        json.dumps({"configurations": {"a": "1"}, "releaseKey": 7}).encode(),
    ],
)
def test_any_other_answer_is_refused_whole(bad: bytes) -> None:
    with pytest.raises(Malformed):
        release(bad, OLD)


def test_a_refusal_does_not_show_values() -> None:
    with pytest.raises(Malformed) as caught:
        release(body(configurations={"token": ["s3cret"]}), None)
    assert "'token'" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_notifications_are_names_and_numbers() -> None:
    told = b'[{"namespaceName":"a","notificationId":7,"messages":{"details":{"o+default+a":7}}}]'
    assert notifications(told) == [PollEntry("a", 7, {"o+default+a": 7})]
    assert notifications(b"[]") == []


@pytest.mark.parametrize("odd", [b"null", b"7", b'{"details":[]}', b'{"details":{"a":"7"}}'])
def test_messages_that_make_no_sense_are_left_out(odd: bytes) -> None:
    told = b'[{"namespaceName":"a","notificationId":7,"messages":' + odd + b"}]"
    assert notifications(told) == [PollEntry("a", 7)]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b'["a"]',
        b'[{"namespaceName":"a"}]',
        b'[{"namespaceName":null,"notificationId":7}]',
        b'[{"namespaceName":"a","notificationId":"7"}]',
        b'[{"namespaceName":"a","notificationId":' + b"9" * 5000 + b"}]",
    ],
)
def test_any_other_notifications_are_refused_whole(bad: bytes) -> None:
    with pytest.raises(Malformed):
        notifications(bad)
