"""What a person does in the portal."""

from tests.configserver import RunningConfigServer
from tests.person import Person

AT = "/apps/someAppId/default/application"


def values(server: RunningConfigServer) -> dict[str, str]:
    found: dict[str, str] = server.config().json()["configurations"]
    return found


def save(person: Person, key: str, value: str) -> str:
    person.get(f"{AT}/item?key={key}")
    return person.send(f"{AT}/item", key=key, value=value, base=person.field("base"))


def publish(person: Person) -> str:
    person.get(f"{AT}/changes")
    return person.send(f"{AT}/publish", seen=person.field("seen"), name="r", comment="why")
