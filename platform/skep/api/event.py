"""Events, and the listeners that handle them."""

from typing import Generic, TypeVar

from pydantic import BaseModel


class Event(BaseModel, frozen=True):
    """Something that happened; its fields are the payload."""


E_co = TypeVar("E_co", bound=Event, covariant=True)


class Listener(Generic[E_co]):
    """Handles one class of events."""
