"""The hardware suite itself: on every run against this machine's servers, terminals and files; and what it says of
devices that are not well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.mosquitto import PROGRAM, free_port
from tests.support.rtsp import skip_without_gstreamer
from tests.support.sensor_rig import ModbusServer, running
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)

TOP = Path(__file__).resolve().parents[2]
HAPPENS = {
    "cabinet: door opened",
    "cabinet: mains lost",
    "air: PM2.5 over its limit and back",
    "drain: water rises too fast",
    "ups: UPS falls silent",
    "inside: thermometer stuck",
    "cam: camera unplugged and back",
    "gnss: GNSS receiver unplugged and back",
    "cabinet: GPIO chip unplugged and back",
    "cabinet: door opened, with the chip back",
}


def suite(*arguments: str | Path, report: Path, timeout_s: float = 600.0, **environment: str) -> tuple[int, str]:
    """Its exit code and what it printed."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.hil", *map(str, arguments), "--report", str(report)],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
    )
    return run.returncode, run.stdout + run.stderr


def tried(report: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((report / "report.json").read_text())["tried"]
    return found


def test_every_alert_of_a_camera_and_its_sensors_is_raised_and_cleared_on_this_machine(tmp_path: Path) -> None:
    skip_without_gstreamer()
    code, said = suite("--here", report=tmp_path / "report")
    assert code == 0, said
    entries = tried(tmp_path / "report")
    assert {entry["outcome"] for entry in entries} == {"fine"}
    told = {f"{e['device']}: {e['tried']}".split(": the alert")[0] for e in entries if "is_told" in e["test"]}
    assert told == HAPPENS
    assert "Everything that was tried is fine." in (tmp_path / "report" / "report.md").read_text()


def test_devices_that_are_not_well_are_named_with_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    profile = tmp_path / "box.toml"
    profile.write_text(f"""
[box]
site = "test"
id = "gw"
[[camera]]
id = "north"
source = "file:{write_traffic(tmp_path / "traffic.mp4", 1)}"
loop = true
[[camera]]
id = "south"
source = "v4l2:/dev/video-none"
[[sensor]]
id = "air"
driver = "modbus-tcp"
host = "127.0.0.1"
port = {port}
interval_s = 0.3
  [[sensor.quantity]]
  id = "pm25"
  unit = "µg/m³"
  register = 0
  [[sensor.limit]]
  id = "high"
  above = 75
[[sensor]]
id = "gnss"
driver = "nmea"
port = "/dev/serial/by-id/none"
[hil]
settle_s = 3
[[hil.event]]
id = "dust"
raises = "air/high"
do = "true"
undo = "true"
within_s = 2
""")
    with running(ModbusServer(port, lambda: [40])):
        code, said = suite("--profile", profile, report=tmp_path / "report", LC_ALL="vi_VN.UTF-8")
    assert code == 1, said
    entries = tried(tmp_path / "report")
    problems = {(e["device"], e["test"].split("::")[1].split("[")[0]): e["why"] for e in entries if e["why"]}
    assert (
        "is it plugged in? `gateway-agent devices` lists" in problems["camera south", "test_the_camera_gives_pictures"]
    )
    assert "/dev/serial/by-id/none" in problems["sensor gnss", "test_the_sensor"]
    assert "no alert air/high was raised within 2 s after: true" in problems["air", "test_what_happens_is_told"]
    assert {e["outcome"] for e in entries if e["device"] in ("camera north", "sensor air")} == {"fine"}
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Lỗi và cách xử lý" in text
    assert said.count("LỖI") == sum(e["outcome"] == "problem" for e in entries) > 0


def test_a_person_is_asked_at_the_terminal_and_waited_for() -> None:
    master, slave = os.openpty()
    event = "EventConfig(id='door', raises='cabinet/door', do='open the door', undo='close it', by_hand=True)"
    code = f"from tests.hil.hands import do; from tests.hil.profile import EventConfig; do({event})"
    # setsid: the terminal becomes the program's own, as at a login.
    command = ["setsid", "--ctty", "--wait", sys.executable, "-c", code]
    try:
        with subprocess.Popen(command, cwd=TOP, stdin=slave, env={**os.environ, "LC_ALL": "C.UTF-8"}) as asked:
            said = b""
            while b"open the door, then press Enter:" not in said:
                said += os.read(master, 1024)
            assert asked.poll() is None
            os.write(master, b"\n")
            assert asked.wait(60) == 0
    finally:
        os.close(master)
        os.close(slave)


def test_a_profile_that_is_wrong_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    profile = tmp_path / "box.toml"
    profile.write_text(
        '[box]\nsite = "s"\nid = "b"\n[[camera]]\nid = "c"\nsource = "file:x"\n'
        '[hil]\n[[hil.event]]\nid = "door"\nraises = "cabinet/door"\ndo = "true"\nundo = "true"\n'
    )
    code, said = suite("--profile", profile, report=tmp_path / "report")
    assert code == 78
    assert "hil.event 'door': raises = 'cabinet/door', which nothing raises; wanted one of c" in said
    assert not (tmp_path / "report").exists()
