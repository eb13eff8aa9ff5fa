"""A camera's configuration becomes its rules: shared where they can be, measured only where a rule asks."""

from __future__ import annotations

from datetime import datetime

import pytest

from agent.camera import _class_ids, local_time, make_pipeline, wants_evidence
from agent.clock import FakeClock
from agent.config import CameraConfig, parse
from agent.contract.event import Counts, Crossing, Restricted, WrongWay
from drivers.base import CLASSES
from drivers.fakes import FakeDetector
from tests.support.scripted import HEAD, LINE, ZONE, ScriptedCamera
from tests.support.vision import standing_at


def test_local_time_is_that_of_the_frame_and_unknown_while_the_clock_is_not_set() -> None:
    clock = FakeClock(wall_ms=1_764_061_200_000, mono_s=500.0)  # 2025-11-25 09:00 UTC
    at = local_time(clock, "Asia/Ho_Chi_Minh")
    told = at(440.0)
    assert told is not None
    assert told.replace(tzinfo=None) == datetime(2025, 11, 25, 15, 59)
    clock.is_trusted = False
    assert at(440.0) is None


@pytest.mark.parametrize(
    ("tables", "instruments"),
    [
        pytest.param(LINE + ZONE, [], id="lines and zones alone"),
        pytest.param(
            ZONE + '[[camera.rule]]\nid = "r"\nkind = "removed"\nzone = "plaza"\n', ["Things"], id="a thing's rule"
        ),
        pytest.param(
            ZONE + '[[camera.rule]]\nid = "r"\nkind = "removed"\nzone = "plaza"\nenabled = false\n',
            [],
            id="which is not enabled",
        ),
        pytest.param(
            ZONE + '[[camera.rule]]\nid = "r"\nkind = "congestion"\nzone = "plaza"\nvehicles = 5\n',
            ["Speedometer"],
            id="congestion in own lengths",
        ),
    ],
)
def test_nothing_is_measured_that_no_rule_asks_for(tables: str, instruments: list[str]) -> None:
    watched = ScriptedCamera(tables)
    watched.show()
    assert [type(i).__name__ for i in watched.pipeline._book.rules.instruments] == instruments


def test_two_rules_about_one_zone_and_one_line_speak_each_for_itself() -> None:
    watched = ScriptedCamera(
        LINE
        + ZONE
        + '[[camera.rule]]\nid = "one-way"\nkind = "wrong-way"\nline = "gate"\nallowed = "out"\n'
        + '[[camera.rule]]\nid = "keep-out"\nkind = "restricted"\nzone = "plaza"\nseverity = "info"\n'
        + '[[camera.rule]]\nid = "no-cars"\nkind = "restricted"\nzone = "plaza"\nclasses = ["car"]\nevidence = false\n'
    )
    watched.show(seconds=1)
    watched.move("car", standing_at(320, 60, 60, 50), standing_at(320, 420, 60, 50), seconds=3)
    watched.show(seconds=2)
    assert len(watched.said(Crossing)) == len(watched.said(WrongWay)) == 1
    told = [(h.body.rule, h.body.severity, h.evidence) for h in watched.happened if isinstance(h.body, Restricted)]
    assert told == [("keep-out", "info", True), ("no-cars", "critical", False)]


def test_the_same_script_gives_the_same_alerts() -> None:
    def run() -> list[object]:
        watched = ScriptedCamera(
            LINE + ZONE + '[[camera.rule]]\nid = "c"\nkind = "crowd"\nzone = "plaza"\nmore_than = 0\nafter_s = 1\n'
        )
        watched.show(seconds=1)
        watched.move("person", standing_at(320, 120, 40, 100), standing_at(320, 340, 40, 100), seconds=6)
        watched.finish()
        return list(watched.happened)

    first = run()
    assert len(first) > 4
    assert run() == first


def rule_lines(*options: str) -> str:
    return "".join(
        f'[[camera.rule]]\nid = "r{n}"\nkind = "restricted"\nzone = "plaza"\n{option}\n'
        for n, option in enumerate(options)
    )


@pytest.mark.parametrize(
    ("options", "wants"),
    [
        ((), False),
        (("evidence = false",), False),
        (("evidence = true\nenabled = false",), False),
        (("evidence = false", "evidence = true"), True),
    ],
)
def test_pictures_are_kept_in_mind_where_a_rule_asks_for_them(options: tuple[str, ...], wants: bool) -> None:
    (camera,) = parse(HEAD + ZONE + rule_lines(*options), "gateway.toml").camera
    assert wants_evidence(camera) == wants


def test_a_camera_has_the_readers_its_configuration_names() -> None:
    plain = CameraConfig(id="north", source="file:clip.mp4")
    assert make_pipeline(plain, FakeDetector([]))._readers is None
    reading = CameraConfig(id="north", source="file:clip.mp4", readers=("colour",))
    readers = make_pipeline(reading, FakeDetector([]))._readers
    assert readers is not None
    assert [reader.name for reader in readers._readers] == ["colour"]


# ---- what was not recognised -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        pytest.param('["vehicle"]', {"bicycle", "motorcycle", "car", "bus", "truck", "vehicle"}, id="any vehicle"),
        pytest.param('["person", "vehicle"]', {*CLASSES, "vehicle"}, id="everything"),
        pytest.param('["car"]', {"car", "vehicle"}, id="it is most likely a car"),
        pytest.param('["truck", "bus"]', {"truck", "bus"}, id="and no lorry"),
        pytest.param('["motorcycle"]', {"motorcycle"}, id="nor a motorcycle"),
        pytest.param('["person"]', {"person"}, id="nor a person"),
    ],
)
def test_what_drove_there_unrecognised_counts_as_a_vehicle_and_where_cars_count(classes: str, wanted: set[str]) -> None:
    (camera,) = parse(HEAD + LINE + f"classes = {classes}\n", "gateway.toml").camera
    names = {(*CLASSES, "vehicle")[class_id] for class_id in _class_ids(camera.line[0].classes)}
    assert names == wanted


@pytest.mark.parametrize(
    ("classes", "is_told"),
    [(None, True), ('["vehicle"]', True), ('["car", "bus"]', True), ('["truck"]', False), ('["person"]', False)],
)
def test_a_vehicle_that_the_network_never_sees_is_counted_and_told_where_vehicles_are_meant(
    classes: str | None, is_told: bool
) -> None:
    named = f"classes = {classes}\n" if classes else ""
    rule = '[[camera.rule]]\nid = "one-way"\nkind = "wrong-way"\nline = "gate"\nallowed = "out"\n'
    watched = ScriptedCamera(LINE + named + rule + named)
    watched.show(seconds=3)
    for n in range(40):  # drawn, and nobody detects it
        watched.things = [standing_at(320, 20 + 10 * n, 60, 50)]
        watched.show()
    watched.things = []
    watched.show(seconds=3)
    watched.finish()
    told = [body.object_class for body in watched.said(WrongWay)]
    assert told == (["vehicle"] if is_told else [])
    assert [body.object_class for body in watched.said(Crossing)] == told
    counted = [(line.object_class, line.n) for body in watched.said(Counts) for line in body.lines]
    assert counted == [("vehicle", 1) for _ in told]
