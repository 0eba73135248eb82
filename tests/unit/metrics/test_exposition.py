import subprocess
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.utils import floatToGoString

from skep.metrics.exposition import (
    OPENMETRICS,
    TEXT,
    in_otel_names,
    negotiate,
    render_openmetrics,
    render_text,
)
from skep.metrics.names import CATALOGUE, FAST
from skep.supervisor.metrics.ledger import Ledger
from tests.packages import require

NASTY = 'a "quoted" back\\slash\nand line'
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def family(name: str, type: str, *series: list[Any], bounds: Iterable[float] = ()) -> Any:  # noqa: A002
    return {"name": name, "type": type, "help": NASTY, "bounds": [*bounds], "series": [*series]}


EVERY_TYPE = [
    family("size", "gauge", [{"l": NASTY}, -1.5], [{"l": ""}, "+Inf"], [{}, "NaN"]),
    family("runs_total", "counter", [{"b": "2", "a": "1"}, 3.0], [{"b": "1", "a": "1"}, 1e20]),
    family("wait", "histogram", [{"l": "x"}, [7.5, [1, 0, 2]]], bounds=[0.5, 2_500_000]),
    family("cold", "histogram", [{}, [-7.5, [1, 0, 2]]], bounds=[-10, 0]),
    family("bytes", "summary", [{}, [12, [4]]]),
    family("build_info", "info", [{"version": "1"}, 1]),
    family("mode", "stateset", [{"mode": "fast"}, 1], [{"mode": "slow"}, 0]),
    family("thing", "unknown", [{}, 5]),
]


def full_ledger() -> Ledger:
    """A ledger in which every metric of the platform has a value."""
    ledger = Ledger()
    for number, metric in enumerate(CATALOGUE):
        if metric.source == "supervisor":
            act = {"counter": ledger.add, "gauge": ledger.set, "histogram": ledger.observe}
            labels = dict.fromkeys(metric.labels, "x")
            act[metric.type](metric.name, 1.5, **labels)
            continue
        labels = dict.fromkeys(metric.own_labels, "x")
        frame: dict[str, Any] = {
            "families": [[1, metric.exposed, metric.type, metric.help, metric.merge]],
            "series": [[2, 1, labels, *([list(metric.buckets)] if metric.buckets else [])]],
        }
        if metric.type == "gauge" or metric.is_absolute:
            frame["set"] = [[2, 3]]
        elif metric.type == "counter":
            frame["add"] = [[2, 3]]
        else:
            frame["observe"] = [[2, 3.5, [1] * (len(metric.buckets) + 1)]]
        assert ledger.absorb(f"web.{number}@1", frame)
    return ledger


def parsed(parse: Callable[[str], Any], text: str) -> Samples:
    """Every sample of the text. Raises if one stands there twice."""
    samples = [sample for family in parse(text) for sample in family.samples]
    found = {(s.name, tuple(sorted(s.labels.items()))): float(s.value) for s in samples}
    assert len(found) == len(samples)
    return found


def parse_text(text: str) -> Samples:
    return parsed(parser.text_string_to_metric_families, text)


def parse_openmetrics(text: str) -> Samples:
    return parsed(openmetrics_parser.text_string_to_metric_families, text)


def test_every_type_can_be_read_back() -> None:
    samples = parse_text(render_text(EVERY_TYPE))
    assert samples["size", (("l", NASTY),)] == -1.5
    assert samples["runs_total", (("a", "1"), ("b", "1"))] == 1e20
    assert samples["wait_bucket", (("l", "x"), ("le", "0.5"))] == 1
    assert samples["wait_bucket", (("l", "x"), ("le", "2.5e+06"))] == 1
    assert samples["wait_bucket", (("l", "x"), ("le", "+Inf"))] == 3
    assert samples["wait_count", (("l", "x"),)] == 3
    assert samples["bytes_sum", ()] == 12
    assert samples["bytes_count", ()] == 4
    assert samples["build_info", (("version", "1"),)] == 1


def test_both_formats_have_the_same_samples() -> None:
    in_text = parse_text(render_text(EVERY_TYPE))
    in_openmetrics = parse_openmetrics(render_openmetrics(EVERY_TYPE))
    # As text, because NaN equals nothing.
    assert repr(sorted(in_text.items())) == repr(sorted(in_openmetrics.items()))


@pytest.mark.parametrize("render", [render_text, render_openmetrics])
def test_the_order_does_not_depend_on_that_of_the_ledger(render: Callable[[Any], str]) -> None:
    backwards = [{**f, "series": f["series"][::-1]} for f in EVERY_TYPE[::-1]]
    assert render(backwards) == render(EVERY_TYPE)


def test_a_counter_beside_a_gauge_of_its_short_name_is_no_clash() -> None:
    families = [
        family("orders", "gauge", [{}, 1]),
        family("orders_total", "counter", [{}, 2]),
        family("build_total", "counter", [{}, 3]),
        family("build_info", "info", [{}, 1]),
    ]
    text = render_openmetrics(families)
    assert parse_openmetrics(text)["orders_total", ()] == 2
    assert "# TYPE orders_total unknown\n" in text
    assert "# TYPE build info\n" in text
    assert "# TYPE build_total unknown\n" in text


def test_nothing_is_an_empty_page() -> None:
    assert render_text([]) == ""
    assert render_openmetrics([]) == "# EOF\n"


@pytest.mark.parametrize("bound", [0.005, 0.1, 1, 10, 3600, 123456, 1e6, 1.5e6, 12345678, 1e16])
def test_bounds_are_spelled_as_client_libraries_spell_them(bound: float) -> None:
    text = render_text([family("wait", "histogram", [{}, [1, [1, 0]]], bounds=[bound])])
    spelled = floatToGoString(bound)  # type: ignore[no-untyped-call]
    assert f'wait_bucket{{le="{spelled}"}} 1\n' in text


def test_the_whole_catalogue_can_be_read_in_both_formats() -> None:
    families = full_ledger().families()
    in_text = parse_text(render_text(families))
    in_openmetrics = parse_openmetrics(render_openmetrics(families))
    assert in_text.keys() == in_openmetrics.keys()
    assert {f["name"] for f in families} == {metric.exposed for metric in CATALOGUE}


def test_promtool_finds_nothing_to_complain_about() -> None:
    text = render_text(full_ledger().families())
    out = subprocess.run(
        [require("promtool"), "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (out.returncode, out.stdout, out.stderr) == (0, "", "")


PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", TEXT),
        ("application/openmetrics-text;q=much", TEXT),
        (";;=,,", TEXT),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, expected: str) -> None:
    content_type, render = negotiate(accept)
    assert content_type == expected
    assert render is (render_openmetrics if expected == OPENMETRICS else render_text)


def test_http_metrics_can_have_the_names_of_opentelemetry() -> None:
    labels = {"method": "GET", "route": "/"}
    series = [[labels, [0.3, [1] + [0] * 14]]]
    examples = [[labels, 0.005, {"trace_id": "a"}, 0.3, 0.0]]
    duration = {
        "name": "platform_http_request_duration_seconds",
        "type": "histogram",
        "help": "Time.",
        "bounds": FAST,
        "series": series,
        "exemplars": examples,
    }
    other = {"name": "orders_total", "type": "counter", "help": "", "series": [[labels, 1]]}
    page = render_openmetrics(in_otel_names([duration, other]))
    labels_there = 'http_request_method="GET",http_route="/"'
    assert f"http_server_request_duration_seconds_count{{{labels_there}}} 1\n" in page
    assert f'bucket{{{labels_there},le="0.005"}} 1 # {{trace_id="a"}} 0.3' in page
    assert 'orders_total{method="GET",route="/"} 1' in page
    assert "platform_" not in page
