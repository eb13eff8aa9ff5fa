"""The verbs with which a technician looks at a box."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config_sensors import Bme280Config, GpioConfig, Ina219Config
from tests.hil.connected import NO_PROFILE, PROFILE
from tests.support.command import gateway_agent

pytestmark = [pytest.mark.hil, pytest.mark.skipif(PROFILE is None, reason=NO_PROFILE)]
LIMIT_S = 600.0


def test_check(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    assert PROFILE is not None
    config = PROFILE.for_the_suite(tmp_path, None)
    run = gateway_agent("check", "--config", config, timeout_s=LIMIT_S)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    record_property("answered", run.stdout)


def test_devices(record_property: Callable[[str, object], None]) -> None:
    """What is plugged into this machine is listed under the name that the profile has, or that its link leads to."""
    assert PROFILE is not None
    probe = ["--probe"] if PROFILE.hil.probe_i2c else []
    run = gateway_agent("devices", "--offline", *probe, timeout_s=LIMIT_S)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    record_property("answered", run.stdout)
    paths = [camera.source.removeprefix("v4l2:") for camera in PROFILE.config.camera if camera.source[:5] == "v4l2:"]
    for sensor in PROFILE.config.sensor:
        if isinstance(sensor, Bme280Config | Ina219Config):
            paths.append(sensor.port)
        elif isinstance(sensor, GpioConfig) and Path(sensor.chip).exists():  # the fake has no chip
            paths.append(sensor.chip)
    unlisted = [path for path in paths if path not in run.stdout and os.path.realpath(path) not in run.stdout]
    if unlisted:
        names = ", ".join(unlisted)
        pytest.fail(f"not listed: {names}; is it plugged in, and may this user open it?\n{run.stdout}", pytrace=False)
