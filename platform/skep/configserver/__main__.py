"""`python -P -m skep.configserver`: the slot of the embedded config server."""

import sys

from skep.configserver.slot import ConfigServerSlot
from skep.wire.platform_slot import run

if __name__ == "__main__":
    sys.exit(run(ConfigServerSlot))
