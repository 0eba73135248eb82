"""Draw the pages of the portal for the docs: `make portal-pictures`.

Each page twice: on a desk in light colours, on a phone in dark ones.
"""

import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.browser import Browser, browser
from tests.configserver import RunningConfigServer, running_config_server
from tests.person import PASSWORD, Person, make_first_account, signed_in

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "portal"
APP = "shop"
AT = f"/apps/{APP}/default/application"
WINDOWS = (("desk", 1200, False), ("phone", 390, True))
PAGES = {
    "apps": "/",
    "app": f"/apps/{APP}",
    "items": AT,
    "item": f"{AT}/item?key=mail.sender",
    "text": f"{AT}/text",
    "changes": f"{AT}/changes",
    "history": f"{AT}/history",
    "saves": f"{AT}/saves",
    "compare": f"{AT}/compare?left=1&right=2",
    "rollback": f"{AT}/rollback?to=1",
    "gray": f"{AT}/gray",
    "instances": f"{AT}/instances",
    "keys": f"/apps/{APP}/keys",
    "tokens": "/tokens",
    "accounts": "/accounts",
    "search": "/search?q=mail",
    "audit": "/audit",
}


# Pages about a publish that waits, drawn when all others are.
WAITING = {"requests": f"{AT}/requests", "rules": f"{AT}/rules"}


def fill(server: RunningConfigServer) -> None:
    """Publish, edit, and let instances ask."""
    first = {"http.timeout": "2.5", "mail.sender": "bees@example.org", "db.password": "not-shown"}
    server.publish(first, app_id=APP)
    server.publish({"http.timeout": "3", "mail.footer": "Yours\nThe hive"}, app_id=APP)
    for number in range(1, 5):
        server.config(app_id=APP, ip=f"10.20.0.{number}")
    with signed_in(server) as ann:
        save(ann, AT, "mail.sender", "queen@example.org")
        ann.get(f"{AT}/gray")
        ann.send(f"{AT}/gray")
        ann.get(f"{AT}/gray")
        ann.send(f"{AT}/gray/rules", app=APP, ips="10.20.0.1 10.20.0.2", labels="canary")
        ann.get(f"{AT}/gray")
        branch = ann.html.partition('/instances/events"')[0].rpartition('data-live="/portal')[2]
        save(ann, branch, "http.timeout", "10")
        ann.get(f"{branch}/changes")
        ann.send(f"{branch}/publish", seen=ann.field("seen"), name="longer timeout")
        ann.get("/tokens")
        ann.send("/tokens", name="ci", role="publish", app=APP, days="90")
        ann.get("/accounts")
        ann.send("/accounts", name="bob", roles=f"edit {APP}, read *", password=PASSWORD)
        ann.get(f"/apps/{APP}/keys")
        ann.send(f"/apps/{APP}/keys", enabled="1", observe="1")
    server.config(app_id=APP, ip="10.20.0.1")


def save(person: Person, at: str, key: str, value: str) -> None:
    """Save one item."""
    person.get(f"{at}/item?key={key}")
    person.send(f"{at}/item", key=key, value=value, base=person.field("base"))


def ask_for_a_publish(server: RunningConfigServer) -> None:
    """Set rules, and let bob ask for what ann is to approve."""
    rule = {"properties": {"http.timeout": {"type": "number", "maximum": 30}}}
    policy = {
        "schema": json.dumps(rule, indent=2),
        "required": ["mail.sender", "db.password"],
        "approval": True,
    }
    server.write("PUT", "/policy", policy, app_id=APP)
    soon = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT06:00}"
    with signed_in(server, "bob") as bob:
        bob.get(f"{AT}/changes")
        fields = {"name": "summer", "comment": "longer hours", "at": soon}
        bob.send(f"{AT}/ask", seen=bob.field("seen"), **fields)


def draw(page: Browser, url: str, name: str, path: str) -> None:
    """Draw one page in both windows."""
    for window, width, dark in WINDOWS:
        page.show_as(width, dark=dark)
        page.open(f"{url}/portal{path}")
        (IMAGES / f"{name}-{window}.png").write_bytes(page.picture())


def main() -> int:
    """Draw all pages."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        running_config_server(Path(directory), app_id=APP) as server,
        browser() as page,
    ):
        draw(page, server.url, "first-account", "/first-account")
        make_first_account(server)
        fill(server)
        draw(page, server.url, "sign-in", "/sign-in")
        page.write("#name", "ann")
        page.write("#password", PASSWORD)
        page.click("main button")
        for name, path in PAGES.items():
            draw(page, server.url, name, path)
        page.open(f"{server.url}/portal{AT}/item?key=http.timeout")
        page.write("#value", "5")
        with signed_in(server) as bob:
            save(bob, AT, "http.timeout", "4")
        page.click("form[data-save] button")
        for window, width, dark in WINDOWS:
            page.show_as(width, dark=dark)
            (IMAGES / f"conflict-{window}.png").write_bytes(page.picture())
        ask_for_a_publish(server)
        for name, path in WAITING.items():
            draw(page, server.url, name, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
