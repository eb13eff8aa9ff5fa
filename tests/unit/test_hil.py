"""Profiles of the hardware suite, and its words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import config
from agent.errors import ConfigError
from tests.hil import profile
from tests.hil.words import _SENTENCES

BOX = """
[box]
site = "s"
id = "b"
[[broker]]
host = "ioc.example"
[uplink]
username = "b"
[evidence]
pixelate = "all"
[[camera]]
id = "north"
source = "file:x"
[[sensor]]
id = "cabinet"
driver = "gpio"
  [[sensor.quantity]]
  id = "door"
  line = 17
"""
EVENT = '[[hil.event]]\nid = "open"\nraises = "{raises}"\ndo = "a"\nundo = "b"\n'

SCALARS = st.one_of(
    st.text(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_what_is_written_as_toml_is_read_as_it_was(data: dict[str, Any]) -> None:
    assert tomllib.loads(profile.to_toml(data)) == data


def test_the_example_in_the_document_is_a_profile(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "drivers" / "README.md").read_text(encoding="utf-8")
    section = text[text.index("\n## Trying what is connected") :]
    example = section[section.index("```toml\n") + 8 :].split("```")[0]
    found = profile.load(write(tmp_path, example)).hil
    assert [event.raises for event in found.event] == ["cabinet/door", "north/camera-silent"]
    assert (found.event[0].by_hand, found.outputs) == (True, True)


def write(folder: Path, text: str) -> Path:
    path = folder / "box.toml"
    path.write_text(BOX + text)
    return path


def test_a_configuration_without_a_table_of_its_own_is_a_profile(tmp_path: Path) -> None:
    found = profile.load(write(tmp_path, ""))
    assert [sensor.id for sensor in found.config.sensor] == ["cabinet"]
    assert (found.hil.event, found.hil.outputs) == ((), False)


def test_neither_the_boxs_stores_nor_its_broker_are_used_by_the_suite(tmp_path: Path) -> None:
    found = profile.load(write(tmp_path, ""))
    mine = tmp_path / "mine"
    settings = config.load(found.for_the_suite(mine, {"host": "127.0.0.1", "port": 1, "tls": False}))
    assert settings.outbox.path.parent == settings.evidence.path.parent == mine
    assert [broker.host for broker in settings.broker] == ["127.0.0.1"]
    assert settings.uplink.username is None
    assert settings.evidence.pixelate == "all"
    assert config.load(found.for_the_suite(mine, None)).broker == ()


@pytest.mark.parametrize("raises", ["cabinet/door", "cabinet/sensor-silent", "north/camera-silent"])
def test_an_event_may_be_whatever_is_raised(tmp_path: Path, raises: str) -> None:
    (event,) = profile.load(write(tmp_path, EVENT.format(raises=raises))).hil.event
    assert f"{event.source}/{event.rule}" == raises


@pytest.mark.parametrize("raises", ["cabinet/mains", "north/door", "west/sensor-silent", "cabinet/camera-silent"])
def test_an_event_that_nothing_raises_is_refused(tmp_path: Path, raises: str) -> None:
    with pytest.raises(ConfigError, match=r"box.toml: hil.event 'open': raises = .*; wanted one of "):
        profile.load(write(tmp_path, EVENT.format(raises=raises)))


def test_a_mistyped_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"box.toml: hil.output: Extra inputs are not permitted"):
        profile.load(write(tmp_path, "[hil]\noutput = true\n"))


def test_a_device_is_unplugged_by_its_command_and_not_by_hand(tmp_path: Path) -> None:
    event = EVENT.format(raises="cabinet/sensor-silent")
    found = profile.load(write(tmp_path, event))
    assert found.unplugs("cabinet") == found.hil.event[0]
    assert found.unplugs("north") is None
    assert profile.load(write(tmp_path, f"{event}by_hand = true\n")).unplugs("cabinet") is None


@pytest.mark.parametrize("key", _SENTENCES)
def test_both_languages_say_the_same_things(key: str) -> None:
    english, vietnamese = _SENTENCES[key]
    values = dict.fromkeys(("event", "site", "box", "n", "fine", "problems", "left", "path", "what"), "?")
    assert english.format(**values, seconds=1.0) != ""
    assert vietnamese.format(**values, seconds=1.0) != ""
    assert english.count("{") == vietnamese.count("{")
