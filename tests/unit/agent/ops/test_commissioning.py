"""The commissioning report: written whole, sent once, and nobody to be recognised in what leaves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from agent.clock import FakeClock, Stamp
from agent.contract.event import Check, Commissioned, Event, Stream
from agent.errors import EventStoreError
from agent.evidence import EvidenceStore
from agent.ops import commissioning
from agent.ops.commissioning import Report

JPEG = b"\xff\xd8 a picture \xff\xd9"
REPORT = Report(
    site="cua-bac",
    box="gw-01",
    made=Stamp(1_763_966_823_123, 5000, True),
    versions={"agent": "0.1.0", "system": "Debian <12>"},
    checks=(
        Check(name="camera north", fine=True, words="camera north: fine"),
        Check(name="broker ioc", fine=False, words="broker ioc: PROBLEM: <refused>"),
    ),
    pictures={"north": JPEG},
)


class Box:
    """What take_up hands a report to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "commissioning"
        self.evidence = EvidenceStore(folder / "evidence", max_bytes=1_000_000, max_days=1, clock=FakeClock())
        self.events: list[Event] = []
        self.is_full = False

    def start(self) -> None:
        commissioning.take_up(self.folder, self._put, self.evidence, FakeClock())

    def _put(self, *events: Event) -> None:
        if self.is_full:
            raise EventStoreError("disk full")
        self.events += events


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def told(box: Box) -> list[Commissioned]:
    assert all(event.stream is Stream.ALERT and event.source == "box" for event in box.events)
    return [event.body for event in box.events if isinstance(event.body, Commissioned)]


def test_a_report_is_sent_once_with_its_pictures(box: Box) -> None:
    commissioning.write(box.folder, REPORT)
    box.start()
    box.start()
    (body,) = told(box)
    assert (body.problems, body.checks, body.versions) == (1, REPORT.checks, REPORT.versions)
    assert body.pictures is not None
    assert body.pictures["north"].sha256 == hashlib.sha256(JPEG).hexdigest()
    assert box.evidence.waiting() == [body.pictures["north"].id]


def test_a_new_report_is_sent_too(box: Box) -> None:
    commissioning.write(box.folder, REPORT)
    box.start()
    commissioning.write(box.folder, REPORT)
    box.start()
    assert len(told(box)) == 2


def test_a_box_without_a_report_says_nothing(box: Box) -> None:
    box.start()
    assert told(box) == []


def test_one_that_the_outbox_does_not_take_is_sent_at_the_next_start(box: Box) -> None:
    commissioning.write(box.folder, REPORT)
    box.is_full = True
    box.start()
    box.is_full = False
    box.start()
    assert len(told(box)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[:40], id="cut off"),
        pytest.param(lambda text: "[]", id="no object"),
        pytest.param(lambda text: text.replace('"fine"', '"good"'), id="another form"),
        pytest.param(lambda text: text.replace('"north"', '"south"'), id="a picture that is not there"),
    ],
)
def test_a_damaged_one_is_told_and_stops_nothing(box: Box, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    commissioning.write(box.folder, REPORT)
    path = box.folder / "report.json"
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    box.start()
    assert told(box) == []
    assert "report.json: not sent" in caplog.text


def test_a_picture_is_taken_from_beside_the_report_alone(box: Box, tmp_path: Path) -> None:
    commissioning.write(box.folder, REPORT)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = box.folder / "report.json"
    path.write_text(path.read_text().replace('"north"', '"../secret"'))
    box.start()
    assert (told(box), box.evidence.waiting()) == ([], [])


def test_a_report_replaces_the_one_before_and_its_pictures(box: Box) -> None:
    commissioning.write(box.folder, REPORT)
    commissioning.write(box.folder, Report(**{**fields(), "pictures": {"south": JPEG}}))
    assert sorted(path.name for path in box.folder.glob("*.jpg")) == ["south.jpg"]
    assert json.loads((box.folder / "report.json").read_text())["pictures"] == ["south"]


def fields() -> dict[str, object]:
    return {name: getattr(REPORT, name) for name in Report.__dataclass_fields__}


def test_the_page_shows_everything_by_itself_and_lets_no_text_be_markup() -> None:
    page = commissioning.as_html(REPORT)
    assert "data:image/jpeg;base64," in page
    assert "broker ioc: PROBLEM: &lt;refused&gt;" in page
    assert "Debian &lt;12&gt;" in page
    assert not any(word in page for word in ("http:", "https:", "<script", "<refused>"))
    assert "2025-11-24 06:47 UTC" in page


def test_a_report_of_a_box_that_does_not_know_the_time_says_so() -> None:
    unset = Report(**{**fields(), "made": Stamp(315_532_812_000, 5000, False)})
    assert "clock: not set from the network yet" in commissioning.as_html(unset)
    assert json.loads(commissioning.as_json(unset))["clock_trusted"] is False


def test_versions_leave_out_what_is_not_known() -> None:
    said = commissioning.versions("0.1.0", None, None)
    assert said["agent"] == "0.1.0"
    assert "model" not in said
    assert all(said.values())


def test_lines_and_zones_are_drawn_on_a_copy() -> None:
    from agent.config import parse
    from agent.vision.scene import layout

    text = (
        '[box]\nsite = "s"\nid = "b"\n[[camera]]\nid = "c"\nsource = "file:x"\n'
        '[[camera.line]]\nid = "gate"\na = [0.1, 0.5]\nb = [0.9, 0.5]\n'
        '[[camera.zone]]\nid = "yard"\npolygon = [[0.1, 0.6], [0.9, 0.6], [0.9, 0.9]]\n'
    )
    camera = parse(text, "test").camera[0]
    picture = np.zeros((200, 300, 3), np.uint8)
    drawn = layout(picture, camera.line, camera.zone)
    assert not picture.any()
    assert drawn[100, 60].any(), "the line"
    assert drawn[140, 250].any(), "the zone"
    assert not drawn[20, 20].any()
