"""What carries a request on."""

import logging

import pytest

from skep.base.logs import correlation
from skep.base.logs.log import TextFormatter

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_outside_of_a_request_there_is_nothing() -> None:
    assert (correlation.headers(), correlation.request_id()) == ({}, "")


def test_a_request_is_known_by_what_its_client_says() -> None:
    with correlation.correlated(correlation.new_request("abc-1", TRACE)):
        assert correlation.headers() == {"request_id": "abc-1", "traceparent": TRACE}
        record = logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO})
        line = TextFormatter("web.0@1", colour=False).format(record)
        assert "request_id=abc-1  trace_id=0af7651916cd43dd8448eb211c80319c" in line
    assert correlation.request_id() == ""


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "new\nline", 'quo"te'])
def test_what_is_not_fit_to_be_repeated_is_replaced(given: str) -> None:
    made = correlation.new_request(given, "garbage")
    assert len(made["request_id"]) == 32
    assert set(made) == {"request_id"}


def test_headers_of_other_things_are_not_taken_for_ours() -> None:
    with correlation.correlated({"step": "finish"}):
        assert correlation.headers() == {}
