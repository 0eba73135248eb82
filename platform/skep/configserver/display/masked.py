"""Secrets are masked until they are revealed, and a masked value can be sent back unchanged."""

from skep.base.logs.masking import MASK, Masker, mask_value
from skep.configserver.model.formats import CONTENT
from skep.configserver.model.names import file_format
from skep.pages.line_ends import unix_lines
from skep.pages.refusals import PageRefused

_mask_text = Masker()


def shown(namespace: str, key: str, value: str) -> str:
    """Return a value as it may be shown to a person who has not asked for its secrets."""
    if key == CONTENT and file_format(namespace) != "properties":
        return _mask_text(value)
    return mask_value(key, value) if value else value


def is_masked(namespace: str, key: str, value: str) -> bool:
    """Return whether a value holds a secret."""
    return shown(namespace, key, value) != value


def unmasked(namespace: str, key: str, given: str, old: str | None) -> str:
    """Return the value that a person means who has seen the old one masked, and in a form, which
    changes the ends of lines.

    Raises PageRefused if the given value mixes a mask with other text: the secret behind the mask
    would be lost.
    """
    if old is None:
        return given
    if given in (unix_lines(old), unix_lines(shown(namespace, key, old))):
        return old
    if is_masked(namespace, key, old) and MASK in given:
        raise PageRefused(
            400,
            f"The value of {key!r} holds the mask {MASK}. Reveal the value before you edit a part "
            "of it, or write the whole value.",
        )
    return given
