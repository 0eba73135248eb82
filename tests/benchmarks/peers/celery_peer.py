"""Celery, acknowledging late and not losing what a killed worker had."""

import os

from celery import Celery

app = Celery(broker=os.environ["PEER_REDIS"])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_send_task_events=False)
done = os.open(os.environ["PEER_DONE"], os.O_WRONLY | os.O_APPEND)


@app.task(ignore_result=True)
def noop() -> None:
    os.write(done, b".")


def deliver(number: int) -> None:
    with app.connection_for_write() as connection, connection.Producer() as producer:
        for _ in range(number):
            noop.apply_async(producer=producer)
