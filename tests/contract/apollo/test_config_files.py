"""`/configfiles`: cases C60 to C68."""

from typing import Any

import pytest

from skep.configserver.model.properties import Pair, parse
from tests.contract.apollo.target import ApolloTarget

KINDS = ("", "json/", "raw/")


def read(target: ApolloTarget, kind: str, app: str, name: str = "application", **query: str) -> Any:
    return target.http.get(f"/configfiles/{kind}{app}/default/{name}", params=query)


def test_the_text_is_javas_properties(target: ApolloTarget, app: str) -> None:
    """C60."""
    target.publish({"k1": "v1"}, app_id=app)
    answer = read(target, "", app)
    assert (answer.status_code, answer.text) == (200, "k1=v1\n")
    assert answer.headers["content-type"].replace(" ", "").lower() == "text/plain;charset=utf-8"


def test_what_needs_an_escape_is_read_back(target: ApolloTarget, app: str) -> None:
    """C61."""
    odd = [" a", "a b", "a:b", "a=b", "#a", "!a", "a\\b", "a\nb", "a\tb", "ä中🐝", "a ", "\\u0041"]
    values = {f"{text.strip()}{n}": text for n, text in enumerate(odd)}
    target.publish(values, app_id=app)
    pairs = parse(read(target, "", app).text, "the answer")
    assert {p.key: p.value for p in pairs if isinstance(p, Pair)} == values


def test_json_is_what_configs_answers(target: ApolloTarget, app: str, public: str) -> None:
    """C62."""
    target.publish({"k1": "v1", "k2": "ä<&>"}, app_id=app)
    answer = read(target, "json/", app)
    assert answer.headers["content-type"].replace(" ", "").lower() == (
        "application/json;charset=utf-8"
    )
    assert answer.json() == target.values(app_id=app)
    # And of a public namespace, of which the app overrides a value
    target.define(f"owner{app}", public, public=True)
    target.publish({"k1": "default-v1", "k2": "default-v2"}, public, app_id=f"owner{app}")
    target.associate(app, "default", public)
    target.publish({"k1": "override-v1"}, public, app_id=app)
    assert read(target, "json/", app, public).json() == {"k1": "override-v1", "k2": "default-v2"}


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("x.json", '{"a": 1}', "application/json"),
        ("x.yml", "a: 1\n", "application/yaml"),
        ("x.yaml", "a: 1\n", "application/yaml"),
        ("x.xml", "<a>ä</a>", "application/xml"),
        ("x.txt", "ä\r\n", "text/plain"),
    ],
)
def test_raw_is_the_file_with_its_type(
    target: ApolloTarget, app: str, name: str, text: str, kind: str
) -> None:
    """C63."""
    target.publish({"content": text}, name, app_id=app)
    answer = read(target, "raw/", app, name)
    assert (answer.status_code, answer.content.decode()) == (200, text)
    assert answer.headers["content-type"].replace(" ", "").lower() == f"{kind};charset=utf-8"


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_namespace_is_not_found(target: ApolloTarget, app: str, kind: str) -> None:
    """C64."""
    target.publish({"k1": "v1"}, app_id=app)
    assert read(target, kind, app, "nope").status_code == 404


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_is_seen_at_once(target: ApolloTarget, app: str, kind: str) -> None:
    """C65."""
    for value in ("v1", "v2"):
        target.publish({"k1": value}, app_id=app)
        assert value in read(target, kind, app).text


def test_a_gray_release_is_for_its_clients_alone(target: ApolloTarget, app: str) -> None:
    """C66."""
    target.publish({"k1": "v1"}, app_id=app)
    branch = target.branch(app, ips=("1.1.1.1",), k1="v1-gray")
    target.release(app_id=app, path=f"/branches/{branch}/releases")
    target.settle()
    for ip, value in (("1.1.1.1", "v1-gray"), ("1.1.1.2", "v1"), ("1.1.1.1", "v1-gray")):
        assert read(target, "json/", app, ip=ip).json() == {"k1": value}
        assert read(target, "", app, ip=ip).text == f"k1={value}\n"


def test_odd_parameters_are_accepted(target: ApolloTarget, app: str) -> None:
    """C67."""
    target.publish({"k1": "v1"}, app_id=app)
    url = f"/configfiles/json/{app}/default/application?&ip=1.2.3.4&label="
    assert target.http.get(url).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_key_is_ignored(target: ApolloTarget, app: str, kind: str) -> None:
    """C68."""
    target.publish({"k1": "v1"}, app_id=app)
    answer = read(target, kind, app, releaseKey=target.key(app_id=app))
    assert (answer.status_code, "v1" in answer.text) == (200, True)
