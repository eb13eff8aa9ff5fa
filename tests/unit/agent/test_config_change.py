"""Patches of a configuration: what they change, what they leave alone, and what is refused."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from agent import config
from agent.config import version_of
from agent.config_change import MAX_BYTES, new_config, patched, rule_patch
from agent.errors import ConfigError

TEXT = """\
# the north gate, set up by Anh
[box]
site = "cua-bac"   # of the city
id = "gw-01"

[[broker]]
host = "mqtt-1.example.vn"
[[broker]]
host = "mqtt-2.example.vn"

[[camera]]   # above the road
id = "north"
source = "rtsp://10.0.0.21/s"
fps = 5      # the old cable gives no more

  [[camera.line]]
  id = "gate"
  a = [0.1, 0.6]   # the kerb
  b = [0.9, 0.6]

  [[camera.zone]]
  id = "square"
  polygon = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]

  [[camera.rule]]
  id = "crowd.1"
  kind = "crowd"
  zone = "square"
  more_than = 20

[[camera]]
id = "south"
source = "rtsp://10.0.0.22/s"
"""
NOW = TEXT.encode()


def data_of(patch: dict[str, Any]) -> dict[str, Any]:
    return tomllib.loads(patched(TEXT, patch))


def test_a_value_is_changed_and_every_other_byte_stays() -> None:
    new = patched(TEXT, {"camera.north.fps": 8, "camera.north.line.gate.a": [0.2, 0.5]})
    assert new == TEXT.replace("fps = 5 ", "fps = 8 ").replace("a = [0.1, 0.6]", "a = [0.2, 0.5]")


@pytest.mark.parametrize(
    ("patch", "wanted"),
    [
        pytest.param({"uplink.payload": "cbor"}, {"uplink": {"payload": "cbor"}}, id="a table that was not there"),
        pytest.param({"health": {"interval_s": 5.0}}, {"health": {"interval_s": 5.0}}, id="a whole table"),
        pytest.param({"box.timezone": "UTC"}, {"timezone": "UTC"}, id="a key that was not there"),
    ],
)
def test_what_was_not_there_is_added(patch: dict[str, Any], wanted: dict[str, Any]) -> None:
    new = data_of(patch)
    assert wanted.items() <= {**new, **new["box"]}.items()
    config.parse(patched(TEXT, patch), "new")


def test_entries_are_added_replaced_and_taken_away_by_their_id() -> None:
    line = {"a": [0.0, 0.5], "b": [1.0, 0.5]}
    new = data_of(
        {
            "camera.north.line.second": line,
            "camera.south.line.first": line,
            "camera.north.zone.square": {"polygon": [[0, 0], [1, 0], [1, 1]]},
            'camera.north.rule."crowd.1"': None,
            "camera.west": {"source": "rtsp://10.0.0.23/s", "line": [{"id": "gate", **line}]},
        }
    )
    north, south, west = new["camera"]
    assert [entry["id"] for entry in north["line"]] == ["gate", "second"]
    assert north["zone"] == [{"id": "square", "polygon": [[0, 0], [1, 0], [1, 1]]}]
    assert "rule" not in north
    assert south["line"] == [{"id": "first", **line}]
    assert west == {"id": "west", "source": "rtsp://10.0.0.23/s", "line": [{"id": "gate", **line}]}


def test_brokers_have_no_id_and_go_by_their_number() -> None:
    new = data_of({"broker.2": None, "broker.1.host": "mqtt.example.vn"})
    assert new["broker"] == [{"host": "mqtt.example.vn"}]
    assert [one["host"] for one in data_of({"broker.3": {"host": "third"}})["broker"]][2:] == ["third"]


def test_null_makes_a_key_what_it_is_without_one() -> None:
    assert "fps" not in data_of({"camera.north.fps": None})["camera"][0]


def test_a_name_with_a_dot_is_quoted_as_in_toml() -> None:
    new = data_of(rule_patch("north", "crowd.1", False))
    assert new["camera"][0]["rule"][0]["enabled"] is False


def test_tables_that_are_written_in_braces_are_patched_too() -> None:
    text = 'box = {site = "s", id = "b"}\ncamera = [{id = "n", source = "rtsp://h/s", line = []}]\n'
    new = tomllib.loads(patched(text, {"camera.n.line.l": {"a": [0, 0], "b": [1, 1]}, "camera.m": {"source": "x"}}))
    n, m = new["camera"]
    assert n["line"] == [{"id": "l", "a": [0, 0], "b": [1, 1]}]
    assert m == {"id": "m", "source": "x"}


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        pytest.param({}, "wanted 1 to 100", id="nothing"),
        pytest.param({f"health.k{n}": 1 for n in range(101)}, "wanted 1 to 100", id="too much"),
        pytest.param({"camera..fps": 1}, "no key", id="an empty name"),
        pytest.param({"box]\n[x": 1}, "no key", id="TOML in the key"),
        pytest.param({'camera."a\nb".fps': 1}, "no key", id="a line in the key"),
        pytest.param({"camera.north": {}, "camera.north.fps": 1}, "one is a part of the other", id="twice"),
        pytest.param({"camera.nort.fps": 8}, "there is no camera 'nort'; there is: 'north', 'south'", id="no camera"),
        pytest.param({"camera.north.mask.m.kind": "privacy"}, "there is no mask yet", id="no mask"),
        pytest.param({"camera.north.fsp": None}, "nothing to take away", id="a mistyped key"),
        pytest.param({"camera.west": None}, "nothing to take away", id="a camera that is not there"),
        pytest.param({"uplink.payload": None}, "nothing to take away", id="a table that is not there"),
        pytest.param({"camera.north": 7}, "wanted a table", id="a number for a camera"),
        pytest.param({"camera.north": {"id": "south"}}, "wanted 'north', or no id", id="another id"),
        pytest.param({"camera.north.line.gate.a.0": 0.3}, "cannot be in a value", id="into a point"),
        pytest.param({"box.site.x": 1}, "cannot be in a value", id="into a text"),
        pytest.param({"broker.4.host": "x"}, "from 1 to 3", id="the fourth of two brokers"),
        pytest.param({"broker.first.host": "x"}, "from 1 to 3", id="a broker by name"),
        pytest.param({"health.x": {"y": None}}, "cannot be written as TOML", id="null inside"),
    ],
)
def test_a_patch_that_says_no_clear_thing_is_refused(patch: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why.replace(".", r"\.")):
        patched(TEXT, patch)


def test_what_a_library_would_write_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomlkit.dumps", lambda document: TEXT)
    with pytest.raises(ConfigError, match="without changing something else"):
        patched(TEXT, {"camera.north.fps": 8})


# ---- the whole ----


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        pytest.param({"patch": {"camera.north.fps": 800}}, r"camera\[1\].fps: found 800; wanted at most 60", id="fps"),
        pytest.param({"patch": {"camera.north.fsp": 8}}, "unknown key; did you mean 'fps'", id="a mistyped key"),
        pytest.param({"patch": {"box.id": "gw-02"}}, "box.id: found gw-02; wanted gw-01", id="another box"),
        pytest.param({"patch": {"box.site": "x"}}, "box.site: found x; wanted cua-bac", id="another site"),
        pytest.param({"patch": {"outbox.path": "/tmp/o.db"}}, "outbox.path: found /tmp/o.db", id="another outbox"),
        pytest.param({"toml": "x = ["}, "not valid TOML", id="no TOML"),
        pytest.param({"toml": "x = " + "[" * 20_000}, "not valid TOML", id="a tower of brackets"),
        pytest.param({"toml": "x = " + "9" * 5000}, "not valid TOML", id="an endless number"),
        pytest.param({"toml": TEXT + "# \ud800"}, "no form in UTF-8", id="half a character"),
        pytest.param({"toml": TEXT + "#" * MAX_BYTES}, "at most 262144 are taken", id="too long"),
        pytest.param({"toml": TEXT, "base": "0123456789ab"}, "this box has " + version_of(NOW), id="another base"),
    ],
)
def test_what_cannot_be_this_boxs_configuration_is_refused(asked: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        new_config(NOW, **asked)


def test_the_base_is_the_version_that_the_caller_saw() -> None:
    new = new_config(NOW, patch={"camera.north.fps": 8}, base=version_of(NOW))
    assert config.parse(new, "new").camera[0].fps == 8
    assert len(version_of(NOW)) == 12
    with pytest.raises(ConfigError, match="get it anew"):
        new_config(new.encode(), patch={"camera.north.fps": 9}, base=version_of(NOW))


def test_a_file_that_is_no_text_is_named() -> None:
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        new_config(b"\xff", patch={"camera.north.fps": 8})
