"""The headers of an envelope: what the machinery writes beside the payload."""

# The listener of the event to run; an envelope with this header is an event's.
LISTENER = "listener"
# `finish` or `failed`; without it the envelope asks for the task's `handle`.
STEP = "step"
# What `handle` returned, as JSON, for `finish`; the last error, as text, for `failed`.
RESULT = "result"
ERROR = "error"
# The id of the receipt, when the envelope follows from another.
ORIGIN = "origin"
# When an event was due, in ms, in the envelopes of its listeners but the first.
FIRED = "fired"
# How often a worker gave the envelope back because it does not know the name.
UNKNOWN = "unknown"
# How often this delivery may be tried, if not as often as its class says.
TRIES = "tries"
# A listener that runs beside the others of its event: none follows it.
ALONE = "alone"
# Why it was a dead letter, if it was one and was requeued.
DIED = "died"
# The cron whose moment this is; such an envelope has no task.
CRON = "cron"
