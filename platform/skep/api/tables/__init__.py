"""What authors declare and use shared tables with."""

from skep.api.tables.atomic import Atomic, AtomicFlag
from skep.api.tables.columns import Bytes, Str
from skep.api.tables.table import Table
from skep.table.binding import transaction

__all__ = ["Atomic", "AtomicFlag", "Bytes", "Str", "Table", "transaction"]
