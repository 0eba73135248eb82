"""What a form sends."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from skep.pages.line_ends import unix_lines
from skep.pages.refusals import PageRefused

_MOST_FIELDS = 5000
# SQLite's numbers have 18, and a page times its size must be one.
_MOST_DIGITS = 15
_KIND = "application/x-www-form-urlencoded"


class PageForm:
    """The fields of a form, in their order. Line ends are those of Unix."""

    def __init__(self, fields: list[tuple[str, str]] | None = None) -> None:
        self._fields = fields or []

    def text(self, name: str, default: str = "", *, most: int = 0) -> str:
        """Return a field. Raises PageRefused if it is longer than `most` characters (0 for any
        number)."""
        found = next((text for key, text in self._fields if key == name), default)
        if most and len(found) > most:
            raise PageRefused(
                400, f"The field {name!r} has {len(found)} characters; {most} are allowed."
            )
        return found

    def line(self, name: str, *, most: int = 0) -> str:
        """Return a field without blanks around it. Raises as `text` does."""
        return self.text(name, most=most).strip()

    def texts(self, name: str) -> list[str]:
        """Return all fields of this name."""
        return [text for key, text in self._fields if key == name]

    def number(self, name: str, default: int | None = None) -> int:
        """Return a field that is a whole number. Raises PageRefused for another."""
        return whole(self.line(name), name, default)

    def flag(self, name: str) -> bool:
        """Return whether a box is checked."""
        return bool(self.text(name))


def whole(text: str, name: str, default: int | None = None) -> int:
    """Return a text as a whole number, not negative. Raises PageRefused for another text."""
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise PageRefused(400, f"The field {name!r} must be a whole number, not {text[:40]!r}.")
    return int(text)


async def read_form(request: Request, most: int) -> PageForm:
    """Return the form in the body of a request. Raises PageRefused for more than `most` bytes, for
    another type than a form's, and for text that is not UTF-8."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", _KIND):
        raise PageRefused(415, f"Send a form as {_KIND}, not {kind[:60]!r}.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise PageRefused(413, f"The form is larger than {most} bytes.")
    try:
        fields = parse_qsl(
            data.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except UnicodeDecodeError as error:
        raise PageRefused(400, "The form holds text that is not UTF-8.") from error
    except ValueError as error:
        raise PageRefused(400, f"The form has more than {_MOST_FIELDS} fields.") from error
    return PageForm([(name, unix_lines(text)) for name, text in fields])
