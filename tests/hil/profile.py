"""What is to be tried: a gateway.toml as the box has it, and in its table [hil] what may be done to what is connected.

    [hil]
    outputs = true                      # each siren and light is switched on for a moment
    settle_s = 900                      # a GNSS receiver may need so long to its first fix

    [[hil.event]]
    id = "door opened"
    raises = "cabinet/door"             # sensor/limit, sensor/contact, or source/kind: "north/camera-silent"
    do = "open the cabinet's door"
    undo = "close it again"
    by_hand = true                      # a person is asked to; without it, do and undo are shell commands
    within_s = 120

An event is made to happen once, its alert must be raised and then cleared; one that raises `sensor-silent` or
`camera-silent` says how a device is unplugged, and by a command its driver is then tried with that, too. Without [hil]
every device is tried, and nothing is done to it.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from agent import config
from agent.config import Config
from agent.config_table import Table, refuse_repeats
from agent.errors import ConfigError

ENVIRONMENT = "GATEWAY_HIL_CONFIG"
_CAMERA_KINDS = ("camera-silent", "camera-fault")
_SENSOR_KINDS = ("sensor-silent", "sensor-invalid", "sensor-stuck")


class EventConfig(Table):
    """Something that can happen to the box."""

    id: str = Field(min_length=1, description="what people call it; it stands in the report")
    raises: str = Field(pattern="^[^/]+/[^/]+$", description="sensor/limit, sensor/contact or source/kind")
    do: str = Field(min_length=1, description="makes it happen: a shell command, or by_hand a sentence for a person")
    undo: str = Field(min_length=1, description="makes it as it was")
    by_hand: bool = False
    shows: str | None = Field(None, description="a command that succeeds while it is raised, and fails afterwards")
    within_s: float = Field(60.0, gt=0, le=3600, description="from doing to the alert, and from undoing to the end")

    @property
    def source(self) -> str:
        return self.raises.partition("/")[0]

    @property
    def rule(self) -> str:
        return self.raises.partition("/")[2]

    @property
    def unplugs(self) -> bool:
        return self.rule in ("camera-silent", "sensor-silent")


class HilConfig(Table):
    """The table [hil]."""

    outputs: bool = Field(False, description="switch sirens and lights on for a moment")
    probe_i2c: bool = Field(False, description="ask which I2C addresses answer; may disturb what is connected")
    settle_s: float = Field(60.0, gt=0, le=3600, description="until every device is well, after the agent's start")
    event: tuple[EventConfig, ...] = ()


@dataclass(frozen=True)
class Profile:
    path: Path
    config: Config
    hil: HilConfig
    text: dict[str, Any]
    """The configuration as the file has it, without [hil]."""

    def unplugs(self, source: str) -> EventConfig | None:
        """How a sensor or camera is unplugged by a command."""
        found = (event for event in self.hil.event if event.source == source and event.unplugs and not event.by_hand)
        return next(found, None)

    def for_the_suite(self, folder: Path, broker: dict[str, Any] | None) -> Path:
        """The configuration with its stores in a folder of the suite's and its brokers replaced, so that what the box
        has stored is left alone and the operations centre does not get alerts that are tests."""
        text = {name: value for name, value in self.text.items() if name not in ("broker", "uplink")}
        text["outbox"] = {"path": str(folder / "outbox.db"), "max_mb": 64, "alert_reserve_mb": 16}
        text["evidence"] = {**text.get("evidence", {}), "path": str(folder / "evidence")}
        text["health"] = {"interval_s": 1}
        if broker is not None:
            text["broker"] = [broker]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "gateway.toml"
        path.write_text(to_toml(text), encoding="utf-8")
        return path


def load(path: Path) -> Profile:
    """Raises ConfigError."""
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read the profile: {exc.strerror}; is the path right?") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    table = text.pop("hil", {})
    checked = config.parse(to_toml(text), str(path))
    try:
        hil = HilConfig.model_validate_json(json.dumps(table), strict=True)
        refuse_repeats("hil.event", [event.id for event in hil.event])
        for event in hil.event:
            _check(event, checked)
    except ValidationError as exc:
        problems = "; ".join(f"hil.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise ConfigError(f"{path}: {problems}; the keys are explained in tests/hil/profile.py") from exc
    except ValueError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    return Profile(path, checked, hil, text)


def from_environment() -> Profile | None:
    path = os.environ.get(ENVIRONMENT)
    return load(Path(path)) if path else None


def to_toml(data: dict[str, Any]) -> str:
    """What tomllib has read, as TOML again: every table inline. Raises ValueError for what no configuration has."""
    return "".join(f"{_scalar(name)} = {_value(value)}\n" for name, value in data.items())


def _value(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_scalar(name)} = {_value(inner)}" for name, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case str() | bool() | int() | float():
            return _scalar(value)
    raise ValueError(f"{value!r}: a {type(value).__name__} is no value of a configuration")


def _scalar(value: str | bool | int | float) -> str:
    # TOML knows the escapes of JSON; the one control character that JSON leaves as it is must be written out.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _check(event: EventConfig, checked: Config) -> None:
    known: dict[str, tuple[str, ...]] = {camera.id: _CAMERA_KINDS for camera in checked.camera}
    for sensor in checked.sensor:
        contacts = [name for name, unit in sensor.units().items() if unit == "bool"]
        known[sensor.id] = (*(limit.id for limit in sensor.limit), *contacts, *_SENSOR_KINDS)
    if event.rule not in known.get(event.source, ()):
        wanted = ", ".join(f"{event.source}/{rule}" for rule in known.get(event.source, ())) or ", ".join(known)
        raise ValueError(
            f"hil.event {event.id!r}: raises = {event.raises!r}, which nothing raises; wanted one of {wanted}"
        )
