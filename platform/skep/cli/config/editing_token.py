"""The token with which a verb reads and writes what is not published."""

from pathlib import Path

from skep.base.errors import ConfigError, UsageError
from skep.cli.platform_handle import PlatformHandle


def token_in(file: Path) -> str:
    """Return the token in a file. Raises UsageError if the file cannot be read."""
    try:
        return file.read_text().strip()
    except OSError as error:
        raise UsageError(f"The token cannot be read from {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"The token in {file} is not UTF-8 text.") from None


def own_token(platform: PlatformHandle) -> str:
    path = platform.run_dir.configserver_dir / "token"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"There is no token at {path}: this platform follows a config service elsewhere; "
            "publish there."
        ) from None
    except OSError as error:
        raise ConfigError(f"The token {path} cannot be read: {error.strerror}.") from error
