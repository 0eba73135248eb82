"""What authors declare custom processes with."""

from skep.api.processes.context import ProcessContext
from skep.api.processes.process import Process

__all__ = ["Process", "ProcessContext"]
