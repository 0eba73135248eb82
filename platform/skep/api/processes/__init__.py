"""What authors declare custom processes with."""

from skep.api.processes.channel import ReplyStream
from skep.api.processes.context import ProcessContext
from skep.api.processes.message import Message
from skep.api.processes.process import Process

__all__ = ["Message", "Process", "ProcessContext", "ReplyStream"]
