"""Drivers of others: an installed package names its maker in its entry points, and the driver exists.

How to write one is in `drivers/README.md`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, cast

from drivers.base import Sensor

PLUGIN_GROUP = "gateway_agent.sensors"


class SensorMaker(Protocol):
    """What an entry point in PLUGIN_GROUP names: makes a sensor that is not open yet. options: as configured."""

    def __call__(self, sensor_id: str, **options: Any) -> Sensor: ...


def plugin_names() -> list[str]:
    return sorted(plugin.name for plugin in entry_points(group=PLUGIN_GROUP))


def make_plugin_sensor(sensor_id: str, driver: str, options: Mapping[str, Any]) -> Sensor:
    """Raises ValueError if there is no such driver, or if it takes no such options."""
    plugin = _plugin(driver)
    if plugin is None:
        raise ValueError(f"no driver {driver!r} is installed; added ones: {', '.join(plugin_names()) or 'none'}")
    maker = cast(SensorMaker, plugin.load())
    try:
        inspect.signature(maker).bind(sensor_id, **options)
    except TypeError as exc:
        raise ValueError(f"driver {driver!r} does not take these options: {exc}") from exc
    return maker(sensor_id, **options)


def _plugin(driver: str) -> EntryPoint | None:
    return next(iter(entry_points(group=PLUGIN_GROUP, name=driver)), None)
