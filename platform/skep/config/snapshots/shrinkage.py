"""A configuration that has lost its keys, which is a server's trouble more often than a wish.

A restored backup, the wrong cluster, a namespace that was emptied by mistake: all of them answer
well and with almost nothing. So what has lost its keys is refused unless that is allowed.
"""

from collections.abc import Mapping

from skep.config.errors import Unusable

# Of fewer keys than this, half is soon gone on purpose.
_MANY = 10
_ADVICE = "If that is meant, allow it with --allow-empty or PLATFORM_ALLOW_EMPTY=true."


def check_shrinkage(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Compare the values in force with those to come.

    Raises Unusable when no key is left, or when of ten keys or more over half are gone; that others
    came instead does not count, for a configuration of somebody else has as many.
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
