"""The fixtures that plugin authors use."""

from skep.testing.fixtures import inline_lab, manual_lab, real_lab

__all__ = ["inline_lab", "manual_lab", "real_lab"]
