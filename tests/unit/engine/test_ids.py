"""Identifiers and the clock they are made with."""

import time
import uuid

from skep.engine.ids import due_after, new_id, now_ms


def test_an_id_is_a_uuid_of_version_7_made_now() -> None:
    before = now_ms()
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= now_ms()


def test_no_two_ids_are_the_same() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_a_due_time_is_not_before_the_delay_is_over() -> None:
    before = time.time()
    assert due_after(0) == 0
    assert due_after(0.0001) >= (before + 0.0001) * 1000
