"""When a command is due: a pure decision about moments, which are Unix times.

The last moment of a command that was judged is kept, so that a stop or a kill of the schedule loses
no moment: what came while there was no schedule is judged at the next look.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from skep.api.cron_string import CORRECTION, CronString
from skep.schedule.crontab import CommandTerms

# After a smaller step back the minute that has run does not come again.
_SMALL = 60.0
# Missed moments that are counted.
_MOST = 100
# How far before now the latest of more moments than that is looked for, in seconds.
_SPANS = (60.0, 3600.0, 86_400.0, 32 * 86_400.0, 366 * 86_400.0)


@dataclass(frozen=True)
class Judgement:
    """The answer of `judge`: all moments up to `last` are judged; `due` is the one to run for now,
    None if there is none; `missed` is how many have no run of their own (at most a hundred)."""

    last: float
    due: float | None = None
    missed: int = 0


def following(trigger: CronString, moment: float) -> float | None:
    """Return the first moment after another one."""
    found = trigger.get_next_fire_time(None, datetime.fromtimestamp(moment, UTC))
    return None if found is None else found.timestamp()


def judge(trigger: CronString, last: float, now: float, terms: CommandTerms) -> Judgement:
    """Return what is due now, if anything, and which moments were missed.

    Moments missed together make one run, that of the latest. After the clock was set back by less
    than three hours, a command at fixed times does not run again; all others go by the new time if
    that was more than a minute.
    """
    last = _after_setting_back(trigger, last, now)
    moments: list[float] = []
    moment = following(trigger, last)
    while moment is not None and moment <= now and len(moments) < _MOST:
        moments.append(moment)
        moment = following(trigger, moment)
    if not moments:
        return Judgement(last)
    latest = moments[-1]
    if len(moments) == _MOST:
        latest = _latest(trigger, latest, now)
    if now - latest > terms.grace and terms.misfire == "skip":
        return Judgement(latest, None, len(moments))
    return Judgement(latest, latest, len(moments) - 1)


def _after_setting_back(trigger: CronString, last: float, now: float) -> float:
    kept = CORRECTION.total_seconds() if trigger.fixed else _SMALL
    return now if last - now > kept else last


def _latest(trigger: CronString, since: float, now: float) -> float:
    """Return the latest moment not after now; the clock may have jumped by years."""
    for span in _SPANS:
        moment = following(trigger, max(since, now - span))
        if moment is not None and moment <= now:
            break
    else:
        return since
    while moment is not None and moment <= now:
        since, moment = moment, following(trigger, moment)
    return since
