"""Random numbers: each worker has its own, although all of them were forked from one zygote."""

import random
import sys


def reseed() -> None:
    """Seed again the generators whose state is known: that of `random`, and NumPy's global one if
    it has been imported. Generators that a plugin has made itself are its own to seed, in the hook
    `after_fork`."""
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
