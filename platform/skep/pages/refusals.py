"""Why a page refuses a request."""

from skep.base.errors import PlatformError


class PageRefused(PlatformError):
    """The request is not carried out; `status` is that of the answer, the text is for a person."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
