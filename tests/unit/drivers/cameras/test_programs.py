"""Pictures from other programs: what they write, what starts them, and what the Raspberry Pi's helper makes of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.cameras import csi, gstreamer, hardware
from drivers.cameras.picamera_program import without_padding
from drivers.cameras.y4m import NotY4m, parse_header


def test_a_header_says_how_large_the_pictures_are() -> None:
    header = parse_header(b"YUV4MPEG2 C420jpeg W1280 H720 Ip F30000:1001 A1:1")
    assert (header.width_px, header.height_px, round(header.fps, 2)) == (1280, 720, 29.97)
    assert header.frame_bytes == 1280 * 720 * 3 // 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"RIFF", "wanted a line that begins with YUV4MPEG2"),
        (b"YUV4MPEG2 W1280", "1280x0"),
        (b"YUV4MPEG2 W1366 H768", "a width of whole 8 pixels"),
        (b"YUV4MPEG2 W640 H481", "an even height"),
        (b"YUV4MPEG2 W8192 H8192", "more than the 16777216 pixels"),
        (b"YUV4MPEG2 W640 H480 C444", "wanted 4:2:0"),
        (b"YUV4MPEG2 W-640 H480", "0x480"),
    ],
)
def test_a_header_that_is_not_spoken_here_is_told(line: bytes, words: str) -> None:
    with pytest.raises(NotY4m, match=words):
        parse_header(line)


def test_padded_rows_lose_their_padding_and_nothing_else() -> None:
    width, height, stride = 8, 4, 64
    y = np.full((height, stride), 99, np.uint8)
    y[:, :width] = np.arange(32).reshape(height, width)
    chroma = np.full((height, stride // 2), 99, np.uint8)  # two rows of U, then two of V
    chroma[:, : width // 2] = np.arange(100, 116).reshape(4, 4)
    buffer = memoryview(np.concatenate([y.ravel(), chroma.ravel()]).data)
    packed = b"".join(without_padding(buffer, width, height, stride))
    assert packed == bytes([*range(32), *range(100, 116)])
    assert b"".join(without_padding(memoryview(packed), width, height, width)) == packed


def test_a_jetsons_camera_is_asked_for_what_was_configured() -> None:
    words = csi.jetson_program(1, (1920, 1080), 12.5)
    assert words[:4] == ("gst-launch-1.0", "-q", "nvarguscamerasrc", "sensor-id=1")
    assert "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1" in words
    assert words[words.index("videorate") : words.index("nvvidconv")] == (
        "videorate",
        "drop-only=true",
        "max-rate=13",
        "!",
    )
    assert words[-3:] == ("fdsink", "fd={fd}", "sync=false")


def test_a_pis_camera_runs_under_the_systems_python_apart_from_our_modules() -> None:
    python, isolated, script, *rest = csi.pi_program(0, (1280, 720), None)
    assert (python, isolated, Path(script).name) == ("/usr/bin/python3", "-I", "picamera_program.py")
    assert rest == ["0", "1280", "720", "30", "{fd}"]


@pytest.mark.parametrize(
    ("compatible", "is_one"),
    [(b"nvidia,p3768-0000\0nvidia,tegra234\0", True), (b"raspberrypi,4-model-b\0brcm,bcm2711\0", False), (None, False)],
)
def test_a_jetson_is_known_by_its_device_tree(tmp_path: Path, compatible: bytes | None, is_one: bool) -> None:
    file = tmp_path / "compatible"
    if compatible is not None:
        file.write_bytes(compatible)
    assert csi.is_jetson(file) is is_one


@pytest.mark.parametrize(
    ("jetson", "element", "wanted"),
    [(True, True, "nvv4l2decoder"), (True, False, ""), (False, False, "v4l2m2m")],
)
def test_the_hardware_to_decode_with_follows_from_the_board(
    monkeypatch: pytest.MonkeyPatch, jetson: bool, element: bool, wanted: str
) -> None:
    monkeypatch.setattr(hardware, "is_jetson", lambda: jetson)
    monkeypatch.setattr(hardware, "has_element", lambda name: element)
    assert hardware.hardware_here() == wanted
    assert bool(hardware.program_for(wanted)) == (wanted == "nvv4l2decoder")  # type: ignore[arg-type]


def test_without_gstreamer_no_element_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "INSPECT", "no-such-gst-inspect")
    assert not gstreamer.has_element("videotestsrc")
