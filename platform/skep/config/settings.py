"""Typed, frozen views of the environment for plugin authors."""

from typing import Any, ClassVar, Self

from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class Settings(BaseSettings):
    """A plugin's settings: its fields, read from the environment, validated once per generation.

    `class MailSettings(Settings, prefix="MAIL_")` with a field `host: str` reads `MAIL_HOST`. Keys
    are not case-sensitive. A value that does not fit refuses the generation before it may serve,
    so a handler never sees one. Values never change within a generation; `current()` gives them.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file=None)

    _current: ClassVar[Any] = None

    def __init_subclass__(cls, prefix: str = "", **kwargs: Any) -> None:
        """Accept `prefix` in the class statement; pydantic hands it to both of these hooks."""
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, prefix: str = "", **kwargs: Any) -> None:
        """Take the prefix of the environment's keys from the class statement."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.model_config["env_prefix"] = prefix
        cls._current = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment alone: files were resolved into it by the supervisor."""
        return init_settings, env_settings

    @classmethod
    def current(cls) -> Self:
        """Return the settings of this generation; the same frozen object every time.

        Raises pydantic's ValidationError when the environment does not fit the fields.
        """
        if cls._current is None:
            cls._current = cls()
        current: Self = cls._current
        return current
