"""A configuration that has lost its keys, usually by a fault of the server.

A restored backup, the wrong cluster, a namespace emptied by mistake: each gives a valid answer with
almost nothing in it. So it is refused unless it is allowed.
"""

from collections.abc import Mapping

from skep.config.errors import Unusable

# With fewer keys, half of them may well be deleted on purpose.
_MANY = 10
_ADVICE = "If that is meant, allow it with --allow-empty or PLATFORM_ALLOW_EMPTY=true."


def check_shrinkage(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Compare the values in force with those to come.

    Raises Unusable when no key is left, or when over half of at least ten keys are gone. New keys
    do not count: the configuration of another app has as many.
    """
    if before and not after:
        raise Unusable(f"Not one of the {len(before)} keys in force is left. {_ADVICE}", "empty")
    gone = before.keys() - after.keys()
    if len(before) >= _MANY and len(gone) * 2 > len(before):
        names = ", ".join(sorted(gone)[:3])
        raise Unusable(
            f"{len(gone)} of the {len(before)} keys in force are gone ({names} …). {_ADVICE}",
            "shrunk",
        )
