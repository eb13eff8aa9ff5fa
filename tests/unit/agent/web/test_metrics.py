"""Metrics by the conventions of Prometheus, and the dashboard that stands on them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from agent.contract.box import BudgetHealth, CameraHealth, EvidenceHealth, OutputHealth
from agent.contract.event import CameraFault, Crossing, Event, Stream
from tests.support.web import Page, some_health

DASHBOARD = Path(__file__).resolve().parents[4] / "provisioning" / "grafana.json"
UNITS = ("seconds", "bytes", "celsius", "total", "info", "per_second", "rows", "number", "pictures")
STATES = ("up", "on", "trusted", "fault", "value", "in_flight", "sessions", "watchers", "limit_per_second")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A box of which everything is known."""
    page = Page(tmp_path)
    page.health = some_health(
        cameras={"north": CameraHealth(state="open", fps=9.8, dropped=3, inferred=70, faults=("dark",), bugs=1)},
        outputs={"siren": OutputHealth(on=True)},
        evidence=EvidenceHealth(pictures=2, bytes=8192, max_bytes=1_000_000, waiting=0),
        budget=BudgetHealth(limit_per_s=40, max_per_s=40, granted=70, refused=2),
    )
    crossing = Crossing.model_validate({"line": "gate", "direction": "in", "class": "car", "track": 3})
    fault = CameraFault(fault="dark", state="raised", alert="a1", severity="critical")
    stamp = page.clock.stamp()
    events = [Event(Stream.ALERT, "north", body, stamp) for body in (crossing, crossing, fault)]
    page.diary.noting(lambda *events: None)(*events)
    page.site.logins["wrong"] += 2
    yield page
    page.close()


def families(page: Page) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(page.site.metrics.text().decode())}


def samples(page: Page) -> dict[str, float]:
    """By name and the values of the labels, in the order of the labels' names."""
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for family in families(page).values()
        for sample in family.samples
    }


def test_what_the_box_says_is_in_the_metrics(page: Page) -> None:
    found = samples(page)
    assert found["gateway_outbox_rows"] == 3
    assert found["gateway_outbox_oldest_seconds"] == 200
    assert found["gateway_link_up"] == 1
    assert found["gateway_link_acknowledged_total"] == 4
    assert found["gateway_camera_up north"] == 1
    assert found["gateway_camera_frames_dropped_total north"] == 3
    assert found["gateway_camera_fault north dark"] == 1
    assert found["gateway_sensor_value pm25 air"] == 12.5
    assert found["gateway_output_on siren"] == 1
    assert found["gateway_crossings_total north car in gate"] == 2
    assert found["gateway_alerts_total camera-fault north"] == 1
    assert found["gateway_web_logins_total wrong"] == 2
    assert found["gateway_inferences_total refused"] == 2


def test_what_is_not_known_is_not_zero(page: Page) -> None:
    page.health = some_health(cpu_c=None, disk_free_bytes=None, link=None, sensors=None)
    found = samples(page)
    assert "gateway_cpu_temperature_celsius" not in found
    assert "gateway_disk_free_bytes" not in found
    assert "gateway_link_up" not in found


def test_names_are_as_prometheus_wants_them(page: Page) -> None:
    for family in families(page).values():
        assert re.fullmatch(r"gateway_[a-z_]+", family.name)
        assert family.documentation
        for sample in family.samples:
            assert sample.name.endswith((*UNITS, *STATES)), sample.name
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def test_every_metric_of_the_dashboard_exists_with_the_labels_that_it_asks_for(page: Page) -> None:
    known = {
        sample.name: set(sample.labels) | {"box"} for family in families(page).values() for sample in family.samples
    }
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) > 15
    for expression in expressions:
        named = re.findall(r"\bgateway_\w+", expression)
        assert named, expression
        for name in named:
            assert name in known, name
            for labels in re.findall(r"by \(([^)]+)\)", expression):
                assert {label.strip() for label in labels.split(",")} <= known[name]


def test_labels_of_the_dashboards_legends_exist(page: Page) -> None:
    known = {sample.name: set(sample.labels) for family in families(page).values() for sample in family.samples}
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            (name, *_) = re.findall(r"\bgateway_\w+", target["expr"])
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known[name] | {"box"}
