"""The driver in drivers/README.md works as it is printed there, installed as the README says."""

import re
import tomllib
from pathlib import Path

import cv2
import pytest

from agent.clock import SystemClock
from agent.vision.capture import Capture
from drivers.base import CameraStalled, CameraUnavailable
from drivers.cameras import SourceError, check_source, make_camera
from tests.support.recordings import number_of, picture

README = Path(__file__).parents[3] / "drivers" / "README.md"


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    return text


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the example beside a package's metadata, as an installer would."""
    site = tmp_path / "site"
    metadata = site / "ftpfolder-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "ftpfolder.py").write_text(block("python"))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ftpfolder\nVersion: 1.0\n")
    ((group, makers),) = tomllib.loads(block("toml"))["project"]["entry-points"].items()
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


def test_the_example_is_as_short_as_promised() -> None:
    assert len([line for line in block("python").splitlines() if line.strip()]) <= 40
