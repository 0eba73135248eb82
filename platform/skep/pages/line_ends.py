"""The ends of lines."""


def unix_lines(text: str) -> str:
    """Return a text with the line ends of Unix; browsers send those of Windows."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
