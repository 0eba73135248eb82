"""Public and overriding namespaces: cases C29 to C39."""

from dataclasses import dataclass

import pytest

from tests.contract.apollo.target import ApolloTarget

NOBODY = "ApolloNoAppIdPlaceHolder"


@dataclass
class Shared:
    """A public namespace with a release in the default cluster and one in `someDC`."""

    target: ApolloTarget
    owner: str
    app: str
    name: str
    default: str
    dc: str

    def override(self, cluster: str, **values: str) -> str:
        """Override values for the app in a cluster; return the release key of that alone."""
        self.target.associate(self.app, cluster, self.name)
        at = {"app_id": self.app, "cluster": cluster}
        self.target.publish(values, self.name, **at)
        return self.target.key(self.name, **at).partition("+")[0]


@pytest.fixture
def shared(target: ApolloTarget, app: str, public: str) -> Shared:
    owner = f"owner{app}"
    target.define(owner, public, public=True)
    target.publish({"k1": "default-v1", "k2": "default-v2"}, public, app_id=owner)
    at = {"app_id": owner, "cluster": "someDC"}
    target.publish({"k1": "someDC-v1", "k2": "someDC-v2"}, public, **at)
    target.publish({"private": "x"}, app_id=app)
    default, dc = target.key(public, app_id=owner), target.key(public, **at)
    return Shared(target, owner, app, public, default, dc)


def test_another_apps_public_namespace_is_read_in_its_data_center(shared: Shared) -> None:
    """C29."""
    at = {"app_id": shared.app, "cluster": "someCluster", "dataCenter": "someDC"}
    body = shared.target.config(shared.name, **at).json()
    assert body == {
        "appId": shared.app,
        "cluster": "someCluster",
        "namespaceName": shared.name,
        "configurations": {"k1": "someDC-v1", "k2": "someDC-v2"},
        "releaseKey": shared.dc,
    }


def test_an_unknown_data_center_reads_the_public_default(shared: Shared) -> None:
    """C30."""
    at = {"app_id": shared.app, "cluster": "someCluster", "dataCenter": "none"}
    assert shared.target.key(shared.name, **at) == shared.default


def test_an_app_overrides_values_of_a_public_namespace(shared: Shared) -> None:
    """C31."""
    own = shared.override("default", k1="override-v1")
    body = shared.target.config(shared.name, app_id=shared.app, dataCenter="none").json()
    assert body["releaseKey"] == f"{own}+{shared.default}"
    assert body["configurations"] == {"k1": "override-v1", "k2": "default-v2"}
    assert body["cluster"] == "default"


@pytest.mark.parametrize("upper", [False, True])
def test_an_app_overrides_values_in_a_data_center(shared: Shared, upper: bool) -> None:
    """C32, C33."""
    shared.override("default", k1="override-v1")
    own = shared.override("someDC", k1="override-someDC-v1")
    name = shared.name.upper() if upper else shared.name
    body = shared.target.config(name, app_id=shared.app, dataCenter="someDC").json()
    assert body["releaseKey"] == f"{own}+{shared.dc}"
    assert body["configurations"] == {"k1": "override-someDC-v1", "k2": "someDC-v2"}
    assert (body["cluster"], body["namespaceName"]) == ("someDC", name)


def test_only_the_whole_merged_key_is_answered_with_304(shared: Shared) -> None:
    """C34."""
    own = shared.override("default", k1="override-v1")
    both = f"{own}+{shared.default}"
    read = shared.target.config(shared.name, app_id=shared.app, releaseKey=both)
    assert (read.status_code, read.content) == (304, b"")
    for other in (own, f"{shared.default}+{own}"):
        answer = shared.target.config(shared.name, app_id=shared.app, releaseKey=other)
        assert answer.status_code == 200
    # A plus sign that is not escaped is a space.
    url = f"/configs/{shared.app}/default/{shared.name}?releaseKey={both}"
    assert shared.target.http.get(url).status_code == 200


def test_a_private_namespace_hides_a_public_one(shared: Shared) -> None:
    """C35."""
    shared.target.define(shared.app, shared.name)
    shared.target.publish({"k1": "v1-file"}, shared.name, app_id=shared.app)
    assert shared.target.values(shared.name, app_id=shared.app) == {"k1": "v1-file"}


def test_the_owner_reads_its_own_public_namespace_once(shared: Shared) -> None:
    """C36."""
    assert shared.target.key(shared.name, app_id=shared.owner) == shared.default


def test_a_client_without_an_app_reads_no_private_namespace(shared: Shared) -> None:
    """C37."""
    assert shared.target.config(app_id=NOBODY).status_code == 404


@pytest.mark.parametrize("name", [NOBODY, NOBODY.lower()])
def test_a_client_without_an_app_reads_public_namespaces(shared: Shared, name: str) -> None:
    """C38."""
    body = shared.target.config(shared.name, app_id=name).json()
    assert (body["appId"], body["releaseKey"]) == (name, shared.default)


def test_an_unknown_app_reads_public_namespaces(shared: Shared) -> None:
    """C39."""
    assert shared.target.key(shared.name, app_id=f"un{shared.app}") == shared.default
