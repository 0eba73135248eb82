"""Which names and lengths the config server accepts: those of Apollo's own columns."""

from dataclasses import dataclass

from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address, bare, is_legal
from skep.configserver.model.refusals import InvalidRequest

# Whatever is written here can move to an Apollo server.
_WIDTHS = {"app id": 64, "cluster": 32, "namespace": 32}


@dataclass(frozen=True, slots=True)
class EditorLimits:
    """The longest key and value in characters; the defaults are Apollo's."""

    key: int = 128
    value: int = 20_000

    @property
    def body(self) -> int:
        """The largest request body in bytes: JSON may spell one character with twelve."""
        return 4 * 1024 * 1024 + 12 * self.value

    def check(self, draft: Draft) -> None:
        """Raise InvalidRequest if the item is too long."""
        for what, text, most in (
            (f"key {draft.key[:32]!r}…", draft.key, self.key),
            (f"value of {draft.key!r}", draft.value, self.value),
        ):
            if len(text) > most:
                raise InvalidRequest(f"The {what} has {len(text)} characters; {most} are allowed.")


def check_name(what: str, name: str) -> None:
    """Raise InvalidRequest if nothing can have this name; `what` is `app id`, `cluster` or
    `namespace`."""
    if not is_legal(name):
        raise InvalidRequest(
            f"The {what} {name!r} is not a name: use letters, digits, `_`, `-` and `.`, "
            "and do not begin with a `.`."
        )
    if len(name) > _WIDTHS[what]:
        raise InvalidRequest(
            f"The {what} {name!r} has {len(name)} characters; Apollo takes {_WIDTHS[what]} at most."
        )
    if what == "namespace" and bare(name) != name:
        raise InvalidRequest(
            f"No namespace can be called {name!r}: clients leave `.properties` away."
        )


def check_address(address: Address) -> None:
    """Raise InvalidRequest, naming the culprit, if this address may not be written to."""
    for what, name in zip(_WIDTHS, address, strict=True):
        check_name(what, name)
