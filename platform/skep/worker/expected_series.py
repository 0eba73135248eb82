"""Which series a worker shows at zero, because its catalog says that they may come."""

from skep.metrics.instruments import Instruments
from skep.worker.loading.catalog import Catalog
from skep.worker.tasks.queues import counted_steps


def expect(instruments: Instruments, catalog: Catalog) -> None:
    """Show at zero what can be counted of these tasks, events, crons and processes."""
    for cron, job in catalog.crons.items():
        if instruments.pool == "cron" or job.runs_in_task:
            instruments.expect(cron=cron)
    for event in catalog.listeners:
        instruments.expect(event=event)
    for name, process in catalog.processes.items():
        if process.terms.enable and not process.terms.command:
            instruments.expect(process=name)
    for one in counted_steps(catalog):
        if one.event:
            instruments.expect(event=one.event, listener=one.step)
        else:
            instruments.expect(task=one.step, queue=one.queue)
            instruments.expect(task=one.step)
