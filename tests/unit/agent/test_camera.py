"""From a configuration to drivers and stages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.camera import make_pipeline, wants_evidence
from agent.config import CameraConfig
from drivers.fakes import FakeDetector


@pytest.mark.parametrize(
    ("rules", "wants"),
    [((), False), ((False,), False), ((False, True), True)],
)
def test_pictures_are_kept_in_mind_where_a_rule_asks_for_them(rules: tuple[bool, ...], wants: bool) -> None:
    camera: Any = SimpleNamespace(rule=tuple(SimpleNamespace(evidence=evidence) for evidence in rules))
    assert wants_evidence(camera) == wants


def test_a_camera_has_the_readers_its_configuration_names() -> None:
    plain = CameraConfig(id="north", source="file:clip.mp4")
    assert not wants_evidence(plain)
    assert make_pipeline(plain, FakeDetector([]))._readers is None
    reading = CameraConfig(id="north", source="file:clip.mp4", readers=("colour",))
    readers = make_pipeline(reading, FakeDetector([]))._readers
    assert readers is not None
    assert [reader.name for reader in readers._readers] == ["colour"]
