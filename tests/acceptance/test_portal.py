"""Journeys through the portal of a platform in a browser. Further cases, without one, are in
tests/unit/configserver/portal."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx
import pytest

from skep.configserver.model.access_keys import sign
from tests.browser import Browser, browser
from tests.packages import require
from tests.person import PASSWORD, Person
from tests.platform_process import Platform
from tests.support import wait_until

AT = "/apps/sample/default/application"
PHONE, DESK = 360, 1280


class Journey:
    """One browser in front of a platform's portal."""

    def __init__(self, platform: Platform, page: Browser) -> None:
        self.platform = platform
        self.page = page
        self.url = platform.status()["config"]["url"].rstrip("/")
        self.token = (platform.data_dir / "configserver" / "token").read_text().strip()

    def open(self, path: str) -> None:
        self.page.open(f"{self.url}/portal{path}")

    def wait(self, text: str) -> None:
        wait_until(lambda: text in self.page.body())

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        self.open("/sign-in")
        self.page.write("#name", name)
        self.page.write("#password", password)
        self.page.click("main button")

    def edit(self, key: str, value: str) -> None:
        self.open(f"{AT}/item?key={key}")
        self.page.write("#value", value)
        self.page.click("form[data-save] button")
        self.wait(f"{key} is saved")

    def publish(self) -> None:
        self.open(f"{AT}/changes")
        self.page.write("#comment", "a journey")
        self.page.click("form[action$='/publish'] button")
        self.wait("is published")

    def greets(self, greeting: str) -> None:
        wait_until(lambda: self.platform.get()["greeting"] == greeting, deadline=60)

    def released(self, **query: str) -> str:
        """What a client of this address or label is given."""
        secret = (self.platform.data_dir / "configserver" / "access-key").read_text().strip()
        target = "/configs/sample/default/application" + (f"?{urlencode(query)}" if query else "")
        stamp = str(time.time_ns() // 1_000_000)
        proof = sign(secret, stamp, target.encode()).decode()
        headers = {"Authorization": f"Apollo sample:{proof}", "Timestamp": stamp}
        answer = httpx.get(self.url + target, headers=headers)
        return str(answer.json()["configurations"]["GREETING"])


@pytest.fixture(scope="module")
def journey(shared_sampled: Platform) -> Iterator[Journey]:
    """A browser in which ann has signed in: she has made the first account."""
    require("chromium")
    with browser() as page:
        page.command("Page.enable")
        page.show_as(DESK)
        journey = Journey(shared_sampled, page)
        journey.open("/")
        journey.wait("Make the first account")
        page.write("#setup", journey.token)
        page.write("#name", "ann")
        page.write("#password", PASSWORD)
        page.write("#again", PASSWORD)
        page.click("main button")
        journey.wait("Sign out")
        yield journey


def test_a_person_edits_compares_and_publishes_and_the_platform_follows(journey: Journey) -> None:
    journey.open("/")
    journey.page.click("main a")
    journey.wait("Cluster default")
    journey.page.click("a[href$='/application']")
    journey.wait("GREETING")
    journey.edit("GREETING", "Hi from the portal")
    journey.open(f"{AT}/changes")
    assert (
        journey.page.run("return document.querySelector('ins').innerText") == "Hi from the portal"
    )
    journey.publish()
    journey.greets("Hi from the portal")
    # The page of instances is live: the platform has asked for the release.
    journey.wait("1 with the release in force")


def test_a_person_needs_no_mouse(journey: Journey) -> None:
    journey.open(f"{AT}/text")
    journey.page.run("document.getElementById('text').focus()")
    journey.page.write("#text", "GREETING=typed\n")
    journey.wait("This is correct properties")
    journey.page.press("\ue004", "\ue007")
    journey.wait("The text is saved")
    assert "typed" in journey.page.body()
    journey.open(AT)
    journey.page.press("\ue004", "\ue007")
    assert journey.page.run("return document.activeElement.id") == "main"
    journey.open(f"{AT}/changes")
    journey.page.click("form[action$='/discard'] button")
    journey.wait("as the release in force has them")


def test_the_second_of_two_edits_sees_both_values(journey: Journey) -> None:
    journey.open(f"{AT}/item?key=GREETING")
    with Person(journey.url) as bob:
        bob.sign_in("ann")
        bob.get(f"{AT}/item?key=GREETING")
        bob.send(f"{AT}/item", key="GREETING", value="his", base=bob.field("base"))
    journey.page.write("#value", "hers")
    journey.page.click("form[data-save] button")
    journey.wait("Yours, not saved")
    assert journey.page.text("their-value") == "his"
    journey.page.write("#value", "both")
    journey.page.click("form[data-save] button")
    journey.wait("GREETING is saved")
    journey.publish()
    journey.greets("both")


def test_a_rollback_and_a_gray_release(journey: Journey) -> None:
    before = journey.released()
    journey.edit("GREETING", "a mistake")
    journey.publish()
    journey.open(f"{AT}/history")
    journey.page.click("a[href*='rollback']")
    journey.wait("Put the items back too")
    journey.page.click("button.danger")
    journey.wait("is in force again")
    journey.greets(before)
    journey.open(f"{AT}/gray")
    journey.page.click("form[action$='/gray'] button")
    journey.wait("The branch is made")
    journey.page.write("#ips-1", "10.9.8.7")
    journey.page.click("form[action$='/rules'] button")
    journey.wait("The rules are saved")
    journey.page.click("main a.button")
    journey.page.click("a[href$='/item']")
    journey.page.write("#key", "GREETING")
    journey.page.write("#value", "gray")
    journey.page.click("form[data-save] button")
    journey.wait("GREETING is saved")
    journey.page.click("nav.tabs a[href$='/changes']")
    journey.page.click("form[action$='/publish'] button")
    journey.wait("is published")
    assert journey.released(ip="10.9.8.7") == "gray"
    assert journey.released() == before
    journey.open(f"{AT}/gray")
    journey.page.click("form[action$='/end'] button")
    journey.wait("The branch is ended")


def test_a_second_person_approves_and_the_platform_follows(journey: Journey) -> None:
    journey.open("/accounts")
    journey.page.write("form.panel [name='name']", "bob")
    journey.page.write("form.panel [name='roles']", "publish sample")
    journey.page.write("form.panel [name='password']", PASSWORD)
    journey.page.click("form.panel button")
    journey.wait("The account bob is made")
    journey.open(f"{AT}/rules")
    journey.page.click("[name='approval']")
    journey.page.click("form[data-save] button")
    journey.wait("The rules are saved")
    journey.edit("GREETING", "Hi from two people")
    journey.page.click("nav.tabs a[href$='/changes']")
    journey.page.click("form[action$='/ask'] button")
    journey.wait("Another person must approve it")
    journey.page.click("form.who button")
    journey.wait("You are signed out")
    journey.sign_in("bob")
    journey.wait("Sign out")
    journey.open(AT)
    journey.page.click("nav.tabs a[href$='/requests']")
    journey.wait("Asked for by ann")
    journey.page.click("form[action$='/approve'] button")
    journey.wait("is published")
    journey.greets("Hi from two people")
    journey.page.click("form.who button")
    journey.wait("You are signed out")
    journey.sign_in("ann")
    journey.wait("Sign out")
    journey.open(f"{AT}/rules")
    journey.page.click("[name='approval']")
    journey.page.click("form[data-save] button")
    journey.wait("The rules are saved")


def test_keys_are_exchanged_and_a_wrong_password_is_refused(journey: Journey) -> None:
    journey.open("/apps/sample/keys")
    journey.page.click("form[action$='/keys'] button")
    journey.wait("disabled")
    assert len(journey.page.text("secret")) == 32
    journey.page.click("button[value='observe']")
    journey.wait("only observes")
    journey.page.click("button[value='disable']")
    journey.wait("disabled")
    journey.page.click("button[value='delete']")
    journey.wait("no keys of its own")
    journey.page.click("form.who button")
    journey.wait("You are signed out")
    journey.sign_in("ann", "a wrong password")
    journey.wait("do not belong together")
    journey.sign_in("ann")
    journey.wait("Sign out")


PAGES = (
    "/",
    "/apps/sample",
    AT,
    f"{AT}/item?key=GREETING",
    f"{AT}/text",
    f"{AT}/changes",
    f"{AT}/history",
    f"{AT}/requests",
    f"{AT}/saves",
    f"{AT}/gray",
    f"{AT}/instances",
    f"{AT}/rules",
    "/apps/sample/keys",
    "/tokens",
    "/accounts",
    "/search?q=GREETING",
    "/audit",
    "/password",
    "/sign-in",
    f"{AT}/item?key=",
    "/nothing",
)


def test_every_page_is_without_findings_dark_and_light_and_fits_a_phone(journey: Journey) -> None:
    journey.edit("GREETING", f"a long value {'x' * 300}")
    journey.open(f"{AT}/changes")
    at = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"
    assert journey.page.findings() == []
    journey.page.run(f"document.getElementById('at').value = '{at}'")
    journey.page.click("form[action$='/publish'] button")
    journey.wait("is asked for")
    journey.open(f"{AT}/rules")
    journey.page.write("#required", f"MORE\n{'x' * 300}")
    journey.page.write("#schema", '{"properties": {"GREETING": {"maxLength": 3}}}')
    journey.page.click("form[data-save] button")
    journey.wait("The rules are saved")
    found = {}
    for path in PAGES:
        for width, dark in ((PHONE, True), (DESK, False)):
            journey.page.show_as(width, dark=dark)
            journey.open(path)
            key = (path, width)
            found[key] = journey.page.findings()
            wide = journey.page.run("return document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                found[key].append(f"{wide} px too wide")
    journey.page.show_as(DESK)
    # Others use the platform too
    journey.open(f"{AT}/rules")
    for field in ("#required", "#schema"):
        journey.page.write(field, "")
    journey.page.click("form[data-save] button")
    journey.wait("The rules are saved")
    journey.open(f"{AT}/requests")
    journey.page.click("form[action$='/withdraw'] button")
    journey.wait("is withdrawn")
    assert {key: problems for key, problems in found.items() if problems} == {}
