"""What authors declare custom processes with."""

from skep.api.processes.context import ProcessContext
from skep.api.processes.message import Message
from skep.api.processes.process import Process
from skep.api.processes.recipient import ReplyStream

__all__ = ["Message", "Process", "ProcessContext", "ReplyStream"]
