"""Tasks: classes of work that a task worker does later."""

from pydantic import BaseModel


class Task(BaseModel, frozen=True):
    """A class of work; its fields are the payload."""
