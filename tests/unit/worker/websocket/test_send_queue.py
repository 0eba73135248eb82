from skep.worker.websocket.send_queue import SendQueue


def test_what_the_kernel_takes_at_once_does_not_wait() -> None:
    queue = SendQueue()
    assert queue.waiting(0) == 0
    queue.add(100, 100)
    assert queue.waiting(0) == 0


def test_messages_leave_in_order_and_a_part_of_one_still_waits() -> None:
    queue = SendQueue()
    for size, unsent in ((100, 60), (50, 110), (10, 120)):
        queue.add(size, unsent)
    assert [queue.waiting(unsent) for unsent in (120, 61, 60, 11, 10, 1, 0)] == [
        3, 3, 2, 2, 1, 1, 0,
    ]  # fmt: skip


def test_one_that_is_not_in_the_buffer_yet_waits_too() -> None:
    queue = SendQueue()
    queue.add(70_000, 70_000)
    queue.hold(+1)
    assert queue.waiting(70_000) == 2
    queue.hold(-1)
    assert queue.waiting(70_000) == 1


def test_a_buffer_that_holds_more_than_messages_counts_messages_only() -> None:
    queue = SendQueue()
    queue.add(10, 500)
    assert queue.waiting(500) == 1
