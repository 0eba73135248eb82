"""Try whether a generation would load, without serving: the same path as starting, minus starting.

A zygote is started as for a rollout, answers with a plan or with problems, and is ended.
"""

import os
import signal
import socket
from contextlib import suppress

from skep.base.logs import masking
from skep.base.system.exit_status import describe
from skep.config.options.resolution import options_of_workers
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.processes.spawn import spawn
from skep.wire.channel import BlockingChannel
from skep.wire.messages import Boot, LoadFailed, Planned
from skep.wire.plan import Plan, Problem


def attempt(configuration: Configuration) -> Plan | tuple[Problem, ...]:
    """Return the plan of the generation that would be, or why there would be none.

    Blocks until it is known, for as long as a start may take. No event loop may be waiting for
    children in this process.
    """
    pid, ours = spawn("skep.worker", "zygote@0", configuration.environment)
    with ours:
        try:
            return _answer(ours, configuration)
        except TimeoutError:
            limit = configuration.options.boot_timeout
            return (Problem("load", f"Loading took over {limit:g} s."),)
        except EOFError:
            _, status = os.waitpid(pid, 0)
            return (Problem("load", f"The zygote {describe(status)} while it loaded."),)
        finally:
            # The zygote leads a group: what plugins have started while they loaded is in it.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _answer(ours: socket.socket, configuration: Configuration) -> Plan | tuple[Problem, ...]:
    channel = BlockingChannel(ours)
    ours.settimeout(configuration.options.boot_timeout)
    options = options_of_workers(configuration.options)
    channel.send(Boot("zygote", "zygote", 0, "", options.to_json()))
    while True:
        match channel.receive()[0]:
            case Planned(plan):
                masking.declare(plan.secrets)
                return plan
            case LoadFailed(problems, secrets):
                masking.declare(secrets)
                return tuple(problems)
