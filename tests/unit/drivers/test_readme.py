"""The drivers in drivers/README.md work as they are printed there, installed as the README says."""

import re
import tomllib
from pathlib import Path

import cv2
import pytest

from agent import config
from agent.clock import SystemClock
from agent.errors import ConfigError
from agent.sensors import make_sensors
from agent.vision.capture import Capture
from drivers.base import CameraStalled, CameraUnavailable, Sensor, SensorInvalid, SensorUnavailable
from drivers.cameras import SourceError, check_source, make_camera
from tests.support.recordings import number_of, picture

README = Path(__file__).parents[3] / "drivers" / "README.md"


def block(language: str, n: int = 0) -> str:
    """The n-th block in a language: 0 of a camera, 1 of a sensor, and 2 its configuration."""
    text: str = re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)[n]
    return text


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the example beside a package's metadata, as an installer would."""
    site = tmp_path / "site"
    for n, package in enumerate(("ftpfolder", "rainfile")):
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{package}.py").write_text(block("python", n))
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        ((group, makers),) = tomllib.loads(block("toml", n))["project"]["entry-points"].items()
        lines = "".join(f"{name} = {maker}\n" for name, maker in makers.items())
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    monkeypatch.syspath_prepend(site)


@pytest.mark.usefixtures("installed")
def test_the_example_gives_each_new_picture_to_the_capture(tmp_path: Path) -> None:
    folder = tmp_path / "north"
    folder.mkdir()
    cv2.imwrite(str(folder / "0001.jpg"), picture(1))
    capture = Capture("north", make_camera("north", f"ftpfolder:{folder}"), clock=SystemClock(), stall_timeout_s=1.0)
    capture.start()
    numbers = []
    for number in (2, 3):
        frame = capture.take(10.0)
        assert frame is not None, capture.state()
        numbers.append(number_of(frame.image_bgr))
        partial = folder / f"{number:04}.part.png"
        cv2.imwrite(str(partial), picture(number))
        partial.rename(folder / f"{number:04}.jpg")
    frame = capture.take(10.0)
    assert frame is not None
    numbers.append(number_of(frame.image_bgr))
    assert capture.stop()
    assert numbers == [1, 2, 3]


@pytest.mark.usefixtures("installed")
def test_the_example_fails_as_the_table_says(tmp_path: Path) -> None:
    camera = make_camera("north", f"ftpfolder:{tmp_path}")
    with pytest.raises(CameraUnavailable, match="no picture in"):
        camera.open()
    cv2.imwrite(str(tmp_path / "0001.jpg"), picture(1))
    camera.open()
    camera.read(1.0)
    with pytest.raises(CameraStalled, match="no new picture"):
        camera.read(0.01)


@pytest.mark.usefixtures("installed")
def test_an_unknown_kind_lists_the_added_ones_too() -> None:
    with pytest.raises(SourceError, match=r"supported: file:.*ftpfolder:"):
        check_source("rtmp://10.0.0.21/x")


def test_without_the_package_the_kind_is_unknown() -> None:
    with pytest.raises(SourceError, match="unknown kind 'ftpfolder'"):
        check_source("ftpfolder:/srv/ftp/north")


@pytest.mark.parametrize("n", [0, 1], ids=["camera", "sensor"])
def test_the_example_is_as_short_as_promised(n: int) -> None:
    assert len([line for line in block("python", n).splitlines() if line.strip()]) <= 40


# ---- the sensor ------------------------------------------------------------------------------------------------------

BOX = '[box]\nsite = "cua-bac"\nid = "gw-01"\n[[camera]]\nid = "north"\nsource = "file:clip.mp4"\n'


def rain(folder: Path, text: str) -> Sensor:
    (folder / "rain.csv").write_text(text)
    loaded = config.parse(BOX + block("toml", 2).replace("/srv/ftp", str(folder)), "gateway.toml")
    (sensor,) = make_sensors(loaded.sensor)
    return sensor


@pytest.mark.usefixtures("installed")
def test_the_example_gives_the_last_line_of_the_file(tmp_path: Path) -> None:
    sensor = rain(tmp_path, "2026-11-25T08:15:00Z,11.2\n2026-11-25T08:30:00Z,12.4\n")
    with pytest.raises(SensorUnavailable, match="is not open"):
        sensor.read(1.0)
    sensor.open()
    (reading,) = sensor.read(1.0)
    assert (reading.quantity, reading.value, reading.unit, reading.invalid) == ("rain", 12.4, "mm", None)
    sensor.close()
    sensor.close()


@pytest.mark.usefixtures("installed")
def test_the_sensor_example_fails_as_the_table_says(tmp_path: Path) -> None:
    sensor = rain(tmp_path, "half a li")
    sensor.open()
    with pytest.raises(SensorInvalid, match="wanted time,millimetres"):
        sensor.read(1.0)
    (tmp_path / "rain.csv").unlink()
    with pytest.raises(SensorUnavailable, match="No such file"):
        sensor.read(1.0)
    with pytest.raises(SensorUnavailable, match="does the logger upload"):
        sensor.open()


@pytest.mark.usefixtures("installed")
def test_an_option_that_the_driver_does_not_take_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    text = BOX + block("toml", 2).replace("file =", "flie =")
    with pytest.raises(ConfigError, match="sensor rain: driver 'rainfile' does not take these options"):
        make_sensors(config.parse(text, "gateway.toml").sensor)


@pytest.mark.usefixtures("installed")
def test_an_unknown_driver_lists_the_added_ones_too() -> None:
    with pytest.raises(ConfigError, match=r"no driver 'rainfiel'; did you mean 'rainfile'\? known: .*, nut, rainfile"):
        config.parse(BOX + block("toml", 2).replace('"rainfile"', '"rainfiel"'), "gateway.toml")


def test_without_the_package_the_driver_is_unknown() -> None:
    with pytest.raises(ConfigError, match="no driver 'rainfile'"):
        config.parse(BOX + block("toml", 2), "gateway.toml")
