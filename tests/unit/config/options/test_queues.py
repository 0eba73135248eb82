"""What is said of single queues."""

import pytest

from skep.base.errors import UsageError
from skep.config.options.queues import QueueTerms, parse
from skep.config.options.resolution import resolve


def test_what_can_be_said_of_a_queue() -> None:
    key = (
        "media workers=2 concurrency=4, mail rate=10/s waiting=1000, slow rate=3/5m, plain, "
        "long drain=10m cuts=3, short drain=0"
    )
    options = resolve({}, {"PLATFORM_QUEUES": key})
    assert list(parse(options.queues).values()) == [
        QueueTerms("media", workers=2, concurrency=4),
        QueueTerms("mail", rate=10, period=1000, waiting=1000),
        QueueTerms("slow", rate=3, period=300_000),
        QueueTerms("plain"),
        QueueTerms("long", drain=600, cuts=3),
        QueueTerms("short", drain=0),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "media workers=two",
        "media speed=5",
        "media rate=10",
        "media rate=0/s",
        "-media",
        "a, a",
        "media drain=soon",
        "media drain=-1",
        "media drain=8000h",
        "media cuts=x",
    ],
)
def test_what_cannot_be_understood_is_a_usage_error_that_names_it(text: str) -> None:
    with pytest.raises(UsageError, match="PLATFORM_QUEUES"):
        resolve({}, {"PLATFORM_QUEUES": text})
