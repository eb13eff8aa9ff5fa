"""A box with a camera and six sensors as the service runs it: what can happen in a cabinet, at the broker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Agent, broker_lines, eventually, gateway_agent, write_config
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto, free_port
from tests.support.rtsp import RtspServer, skip_without_gstreamer
from tests.support.sensor_rig import Cabinet, ModbusServer, running
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)


def health(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic == "gw/v1/test/gw/health"]


def alerts(ioc: Consumer, source: str, kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [
        message
        for message in list(ioc.messages)
        if message["topic"] == f"gw/v1/test/gw/alert/{source}"
        and message["kind"] == kind
        and all(message.get(name) == value for name, value in fields.items())
    ]


def readings(ioc: Consumer, source: str) -> list[dict[str, Any]]:
    return [m for m in list(ioc.messages) if m["topic"] == f"gw/v1/test/gw/reading/{source}"]


def raised_and_cleared(found: list[dict[str, Any]]) -> bool:
    """One alert under one id, cleared with how long it lasted."""
    states = [(message["state"], message["alert"]) for message in found]
    return (
        [state for state, _ in states] == ["raised", "cleared"]
        and len({alert for _, alert in states}) == 1
        and found[1]["lasted_s"] > 0
    )


def test_a_camera_and_six_sensors_and_everything_that_can_happen_to_them(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer
) -> None:
    skip_without_gstreamer()
    rig = tmp_path / "rig"
    rig.mkdir()
    with RtspServer() as camera, Cabinet(rig) as cabinet:
        config = write_config(
            tmp_path,
            camera.url(),
            camera="stall_timeout_s = 2",
            broker=broker_lines(broker.port),
            rules="",
            more=cabinet.config(),
        )
        with Agent(config, **cabinet.environment) as agent:
            assert eventually(lambda: is_well(ioc)), agent.log()
            print(f"resident memory with one camera and six sensors: {agent.rss_bytes() / 1e6:.0f} MB")
            # All at once, as in a storm: none waits for another.
            cabinet.pins.drive(17, True)
            cabinet.pins.drive(27, False)
            cabinet.pm25 = 90.0
            cabinet.rises_m_per_s = 0.05
            cabinet.celsius_moves = False
            cabinet.ups.stop()
            camera.stop()
            assert eventually(lambda: len(alerts(ioc, "cabinet", "input", state="raised")) == 2), agent.log()
            assert eventually(lambda: cabinet.pins.folder.joinpath("22").read_text() == "1\n")  # the siren
            assert eventually(lambda: alerts(ioc, "air", "sensor-limit") != []), agent.log()
            assert eventually(lambda: alerts(ioc, "drain", "sensor-limit") != []), agent.log()
            assert eventually(lambda: alerts(ioc, "ups", "sensor-silent") != []), agent.log()
            assert eventually(lambda: alerts(ioc, "inside", "sensor-stuck") != []), agent.log()
            assert eventually(lambda: alerts(ioc, "cam", "camera-silent") != []), agent.log()
            assert eventually(lambda: health(ioc)[-1]["sensors"]["ups"]["state"] == "silent")
            assert "does nut-server run" in health(ioc)[-1]["sensors"]["ups"]["error"]
            assert eventually(lambda: states(ioc)["inside"] == "stuck")
            cabinet.pins.drive(17, False)
            cabinet.pins.drive(27, True)
            cabinet.pm25 = 50.0
            cabinet.rises_m_per_s = 0.0
            cabinet.celsius_moves = True
            cabinet.ups.start()
            camera.start()
            assert eventually(lambda: all(state == "ok" for state in states(ioc).values()), 30), agent.log()
            assert eventually(lambda: len(alerts(ioc, "cam", "camera-silent")) == 2), agent.log()
            assert eventually(lambda: len(alerts(ioc, "drain", "sensor-limit")) == 2), agent.log()
            assert eventually(lambda: cabinet.pins.folder.joinpath("22").read_text() == "0\n")
            agent.stop()
        assert raised_and_cleared(alerts(ioc, "cabinet", "input", rule="door", name="Cửa tủ", severity="warning"))
        assert raised_and_cleared(alerts(ioc, "cabinet", "input", rule="mains_lost", severity="critical"))
        assert raised_and_cleared(alerts(ioc, "air", "sensor-limit", rule="pm25-high", bound="above", limit=75))
        assert raised_and_cleared(alerts(ioc, "drain", "sensor-limit", rule="flood", bound="rising", unit="m/min"))
        assert raised_and_cleared(alerts(ioc, "ups", "sensor-silent"))
        assert raised_and_cleared(alerts(ioc, "inside", "sensor-stuck", unit="°C"))
        assert raised_and_cleared(alerts(ioc, "cam", "camera-silent"))
        assert alerts(ioc, "drain", "sensor-limit")[0]["value"] == pytest.approx(3.0, rel=0.7)  # 5 cm a second
        assert {message["value"] for message in readings(ioc, "air")} == {40.0, 90.0, 50.0}
        assert readings(ioc, "air")[0]["unit"] == "µg/m³"
        (place,) = readings(ioc, "gnss")[:1]
        assert (place["quantity"], place["value"]) == ("latitude", pytest.approx(21.0285, abs=1e-5))
        assert (ioc.missing(), ioc.repeats, ioc.disorder) == ({}, 0, [])


def states(ioc: Consumer) -> dict[str, str]:
    pulse = health(ioc)
    return {name: sensor["state"] for name, sensor in pulse[-1]["sensors"].items()} if pulse else {}


def is_well(ioc: Consumer) -> bool:
    """Every sensor has answered, and the camera gives pictures."""
    found = states(ioc)
    return (
        len(found) == 6
        and set(found.values()) == {"ok"}
        and health(ioc)[-1]["cameras"]["cam"]["state"] == "open"
        and health(ioc)[-1]["outputs"]["siren"]["on"] is False
    )


def test_a_box_with_sensors_and_no_camera_is_checked_runs_reports_and_goes_on_after_a_kill(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer
) -> None:
    rig = tmp_path / "rig"
    rig.mkdir()
    with Cabinet(rig) as cabinet:
        # Its pack is not there, and is not missed: nothing here has a picture to look at.
        more = f'[detector]\npack = "/nowhere"\n{cabinet.config()}'
        config = write_config(tmp_path, None, broker=broker_lines(broker.port), more=more)
        check = gateway_agent("check", "--config", config, **cabinet.environment)
        assert check.returncode == 0, check.stdout + check.stderr
        assert "fine, 0 camera(s), 0 line(s), 0 zone(s), 6 sensor(s)" in check.stdout
        assert "model" not in check.stdout
        agent = Agent(config, **cabinet.environment).start()
        try:
            assert eventually(lambda: set(states(ioc).values()) == {"ok"} and len(states(ioc)) == 6), agent.log()
            print(f"resident memory with six sensors and no camera: {agent.rss_bytes() / 1e6:.0f} MB")
            pulse = health(ioc)[-1]
            assert pulse["cameras"] == {}
            assert "model" not in pulse
            assert "runtime" not in pulse
            cabinet.pm25 = 90.0
            assert eventually(lambda: alerts(ioc, "air", "sensor-limit", state="raised") != []), agent.log()
            time.sleep(2)  # without a camera there is no recording that could be over: it goes on
            assert agent.process is not None
            assert agent.process.poll() is None
        finally:
            agent.stop(signal.SIGKILL)
        cabinet.pm25 = 50.0
        with agent:
            assert eventually(lambda: raised_and_cleared(alerts(ioc, "air", "sensor-limit"))), agent.log()
            assert agent.stop() == 0
        assert "0 camera(s), 6 sensor(s), no detector, as there is no camera" in agent.log()
        refused = gateway_agent("replay", "--config", config, "--camera", "north", "--source", "clip.mp4")
        assert refused.returncode == 78
        assert "no camera 'north' in the configuration; it has: none" in refused.stderr
    assert {message["value"] for message in readings(ioc, "air")} == {40.0, 90.0, 50.0}
    assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_alerts_raised_before_a_kill_are_cleared_after_it_under_their_ids(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer
) -> None:
    rig = tmp_path / "rig"
    rig.mkdir()
    clip = write_traffic(tmp_path / "traffic.mp4", 1)
    with Cabinet(rig) as cabinet:
        config = write_config(
            tmp_path, clip, camera="loop = true", rules="", broker=broker_lines(broker.port), more=cabinet.config()
        )
        cabinet.pins.drive(17, True)  # stands open when the agent comes
        cabinet.pm25 = 90.0
        agent = Agent(config, **cabinet.environment).start()
        try:
            assert eventually(lambda: alerts(ioc, "cabinet", "input") != []), agent.log()
            assert eventually(lambda: alerts(ioc, "air", "sensor-limit") != []), agent.log()
        finally:
            agent.stop(signal.SIGKILL)
        cabinet.pins.drive(17, False)
        cabinet.pm25 = 50.0
        with agent:
            assert eventually(lambda: raised_and_cleared(alerts(ioc, "cabinet", "input", rule="door"))), agent.log()
            assert eventually(lambda: raised_and_cleared(alerts(ioc, "air", "sensor-limit"))), agent.log()
    assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_check_tries_each_sensor_once_and_says_what_to_do(tmp_path: Path) -> None:
    rig = tmp_path / "rig"
    rig.mkdir()
    clip = write_traffic(tmp_path / "traffic.mp4", 1)
    with Cabinet(rig) as cabinet:
        config = write_config(tmp_path, clip, more=cabinet.config())
        cabinet.ups.stop()
        cabinet.air.stop()
        run = gateway_agent("check", "--config", config, **cabinet.environment)
        assert run.returncode == 1, run.stdout + run.stderr
        assert "sensor drain: fine, level 0.4 m" in run.stdout
        assert "sensor cabinet: fine, door off, mains_lost off" in run.stdout
        assert "sensor gnss: fine, latitude 21.0285°" in run.stdout
        assert "sensor ups: PROBLEM: cannot reach the UPS server" in run.stdout
        assert "sensor air: PROBLEM: no answer from device 3 at " in run.stdout
        assert "output siren: fine, switched off" in run.stdout
        assert "2 problem(s) found" in run.stdout


HANGING = """
[[sensor]]
id = "fast"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
interval_s = 0.05
  [[sensor.quantity]]
  id = "count"
  unit = "1"
  register = 0

[[sensor]]
id = "good"
driver = "ds18b20"
device = "{folder}/28-good"
interval_s = 0.2
stale_s = 30

[[sensor]]
id = "hangs"
driver = "ds18b20"
device = "{folder}/28-hangs"
interval_s = 1
timeout_s = 0.5
stale_s = 30

[[sensor]]
id = "alone"
driver = "hwmon"
path = "{folder}/hwmon0/temp1_input"
interval_s = 1
timeout_s = 0.5
stale_s = 30
"""


def test_a_sensor_that_hangs_for_ever_costs_no_other_sensor_and_no_camera_anything(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer
) -> None:
    from drivers.sensors.fakes import w1_slave

    # A pipe that nobody writes to is a file whose reader never comes back: as a thermometer on a broken bus.
    rig = tmp_path / "rig"
    for name in ("28-good", "28-hangs", "hwmon0"):
        (rig / name).mkdir(parents=True)
    good, hangs, alone = rig / "28-good/w1_slave", rig / "28-hangs/w1_slave", rig / "hwmon0/temp1_input"
    good.write_text(w1_slave(20.0))
    hangs.write_text(w1_slave(21.0))
    alone.write_text("22000\n")
    counter = iter(range(1_000_000))
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    port = free_port()
    with running(ModbusServer(port, lambda: [next(counter) % 65536])):
        config = write_config(
            tmp_path,
            clip,
            camera="loop = true\nfps = 5\nmotion_gate = false",
            broker=broker_lines(broker.port),
            more=HANGING.format(port=port, folder=rig),
        )
        with Agent(config) as agent:
            assert eventually(lambda: len(readings(ioc, "alone")) == len(readings(ioc, "hangs")) == 1), agent.log()
            assert eventually(lambda: health(ioc) != [] and health(ioc)[-1]["cameras"]["cam"]["state"] == "open")
            time.sleep(1)  # start-up is over
            before = rates(ioc, 3.0)
            for file in (hangs, alone):
                file.unlink()
                os.mkfifo(file)
            time.sleep(1)
            during = rates(ioc, 3.0)
            print(f"before the hang: {before}; while two sensors hang: {during}")
            assert eventually(lambda: len(alerts(ioc, "alone", "sensor-silent")) == 1, 30), agent.log()
            assert eventually(lambda: len(alerts(ioc, "hangs", "sensor-silent")) == 1, 30), agent.log()
            # The other one of the same bus goes on as soon as the hang is known for one.
            good.write_text(w1_slave(23.0))
            assert eventually(lambda: readings(ioc, "good")[-1]["value"] == 23.0, 15), agent.log()
            assert "has not come back" in alerts(ioc, "hangs", "sensor-silent")[0]["reason"]
            threads = len(os.listdir(f"/proc/{agent.pid}/task"))
            # The line is mended: the call comes back, and the sensor with it.
            with hangs.open("w") as pipe:
                hangs.unlink()
                hangs.write_text(w1_slave(24.0))
                pipe.write(w1_slave(24.0))
            assert eventually(lambda: len(alerts(ioc, "hangs", "sensor-silent")) == 2, 30), agent.log()
            assert len(os.listdir(f"/proc/{agent.pid}/task")) <= threads
    # On a machine that does nothing else they are the same; where others work too, both are noise of their work. Had
    # anything waited for what hangs, nothing would have come.
    assert {name: during[name] > 0.6 * before[name] for name in before} == dict.fromkeys(before, True)


def rates(ioc: Consumer, over_s: float) -> dict[str, float]:
    """Readings of the fast sensor, pictures of the camera taken and looked at, each per second."""
    n, began_s, first = len(readings(ioc, "fast")), time.monotonic(), health(ioc)[-1]
    time.sleep(over_s)
    per_s = (len(readings(ioc, "fast")) - n) / (time.monotonic() - began_s)
    last = health(ioc)[-1]
    looked_at = last["cameras"]["cam"]["inferred"] - first["cameras"]["cam"]["inferred"]
    return {
        "fast": round(per_s, 1),
        "fps": last["cameras"]["cam"]["fps"],
        "looked_at": round(looked_at / (last["uptime_s"] - first["uptime_s"]), 1),
    }
