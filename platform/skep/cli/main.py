"""The console script `platform`."""


def main() -> None:
    """Run the command line."""
