from pathlib import Path

import pytest

from skep.base.errors import UsageError
from skep.configserver.application import create_app
from skep.configserver.storage.database import ConfigDatabase
from tests.configserver import running_config_server


@pytest.mark.parametrize("hold", [0, 0.9, 90.1, -1, float("nan"), float("inf")])
def test_a_hold_that_apollo_does_not_allow_is_refused(tmp_path: Path, hold: float) -> None:
    with pytest.raises(UsageError, match="1 to 90 seconds"):
        create_app(ConfigDatabase(tmp_path / "none.db"), "token", hold=hold)


def test_a_server_without_a_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="token"):
        create_app(ConfigDatabase(tmp_path / "none.db"), "")


def test_it_counts_what_it_answers(tmp_path: Path) -> None:
    with running_config_server(tmp_path) as server:
        server.publish({"k": "v"})
        server.config()
        server.config("nope")
        server.http.get("/made-up-by-a-client")
        text = server.http.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['configserver_requests_total{api="configs",status="200"}'] == "1.0"
    assert lines['configserver_requests_total{api="configs",status="404"}'] == "1.0"
    assert lines['configserver_requests_total{api="other",status="404"}'] == "1.0"
    assert lines["configserver_notifications_total"] == "1.0"
    assert lines["configserver_held_polls"] == "0.0"
    assert lines["configserver_refused_signatures"] == "0.0"


def test_an_error_has_the_fields_of_both_of_apollo_s_shapes(tmp_path: Path) -> None:
    with running_config_server(tmp_path) as server:
        for path, status in (("/nowhere", 404), ("/notifications/v2", 400)):
            body = server.http.get(path).json()
            assert set(body) == {"timestamp", "status", "error", "message", "path"}
            assert (body["status"], body["path"]) == (status, path)
        put = server.http.put("/health")
        assert (put.status_code, put.headers["allow"].replace(" ", "")) in [
            (405, "GET,HEAD"),
            (405, "HEAD,GET"),
        ]
