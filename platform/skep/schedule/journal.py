"""What the schedule knows across its processes: the crontab in force, the last moments, the runs.

It is one small file, replaced in a step before a run begins and after it has ended. So a run is
never begun twice for one moment, and a new schedule knows which runs were cut off.
"""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skep.config.env import atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LastMoment:
    """All moments of a command up to this one are judged, as long as it is due at the same times
    (`when`)."""

    when: str
    moment: float


@dataclass(frozen=True)
class RunRecord:
    """A run that has begun and has not ended; `pid` is 0 until the command is started."""

    name: str
    moment: float
    pid: int = 0


@dataclass
class Journal:
    """The contents of the file at `path`.

    `file` and `text` are the crontab in force, `run_id` the run of the platform that has written
    it, `runs` are by the order in which they began.
    """

    path: Path
    file: str = ""
    text: str = ""
    run_id: str = ""
    moments: dict[str, LastMoment] = field(default_factory=dict)
    runs: list[RunRecord] = field(default_factory=list)

    def save(self) -> None:
        """Replace the file. A failure is logged: the commands matter more than what is noted."""
        body = {name: value for name, value in asdict(self).items() if name != "path"}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(self.path, json.dumps(body).encode(), durable=False)
        except OSError as error:
            log.error("%s cannot be written: %s", self.path, error.strerror)


def opened(path: Path) -> Journal:
    """Return the journal at `path`; an empty one if there is none, or it is damaged."""
    try:
        return _decoded(path, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Journal(path)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        log.warning("%s cannot be used and begins again: %r", path, error)
        return Journal(path)


def _decoded(path: Path, body: dict[str, Any]) -> Journal:
    moments = {name: LastMoment(**one) for name, one in body.pop("moments").items()}
    runs = [RunRecord(**one) for one in body.pop("runs")]
    return Journal(path, **body, moments=moments, runs=runs)
