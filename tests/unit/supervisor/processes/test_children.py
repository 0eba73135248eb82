"""Messages of children go to those who want them."""

from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import Events, WorkerEnded
from skep.wire.messages import Beat, Exited, Hello, Noted
from tests.unit.supervisor.fakes import child, run


def test_a_message_goes_to_the_receivers_of_its_type_alone() -> None:
    async def test() -> None:
        received: list[object] = []
        changes: list[None] = []
        children = Children(Events(), lambda: changes.append(None))
        children.on(Noted, lambda child, _: received.append(("first", child.slot)))
        children.on(Noted, lambda child, _: received.append(("second", child.slot)))
        children.on(Beat, lambda *_: received.append("a beat"))
        children.take(child("task.0"), Noted(1))
        assert received == [("first", "task.0"), ("second", "task.0")]
        assert len(changes) == 1

    run(test)


def test_who_says_hello_is_known_until_it_ends_which_is_published() -> None:
    async def test() -> None:
        events, ended = Events(), list[tuple[Child, bool]]()
        events.subscribe(WorkerEnded, lambda event: ended.append((event.child, event.stopping)))
        children = Children(events, lambda: None)
        first, second = child("web.0"), child("web.1")
        for one in (first, second):
            children.take(one, Hello(one.pid))
        assert list(children) == [first, second]
        children.ended(first)
        children.stopping = True
        children.ended(second)
        assert (ended, bool(children)) == ([(first, False), (second, True)], False)

    run(test)


def test_the_status_of_a_worker_comes_from_the_zygote_that_has_waited_for_it() -> None:
    async def test() -> None:
        children = Children(Events(), lambda: None)
        worker = child("web.0")
        children.take(worker, Hello(worker.pid))
        children.take(child("zygote"), Exited(worker.pid, 9))
        assert worker.status == 9

    run(test)
