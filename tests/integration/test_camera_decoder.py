"""The decoder process on streams that no server gives willingly: FFmpeg reads them from files instead."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.base import CameraRefused, CameraStalled, CameraUnavailable
from drivers.cameras import NetworkCamera


def jpegs(path: Path, *runs: tuple[int, int, int, int]) -> str:
    """A raw MJPEG stream of (pictures, width, height, shade) runs.

    It is read as fast as it is decoded, so a run must be long for a reader to get a picture of it.
    """
    with path.open("wb") as stream:
        for pictures, width_px, height_px, shade in runs:
            encoded = cv2.imencode(".jpg", np.full((height_px, width_px, 3), shade, np.uint8))[1].tobytes()
            stream.writelines([encoded] * pictures)
    return str(path)


def read_to_the_end(camera: NetworkCamera, seen: set[tuple[tuple[int, int], int]]) -> None:
    while True:
        frame = camera.read(10.0)
        seen.add((frame.size_wh_px, round(float(frame.image_bgr.mean()) / 10) * 10))


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV 4 cuts the new pictures instead of scaling")
def test_a_size_that_changes_in_mid_stream_stays_what_it_was_at_the_start(tmp_path: Path) -> None:
    path = jpegs(tmp_path / "s.mjpeg", (2000, 320, 240, 60), (500, 640, 480, 120), (2000, 160, 120, 180))
    camera = NetworkCamera("north", path)
    seen: set[tuple[tuple[int, int], int]] = set()
    try:
        granted = camera.open()
        assert (granted.width_px, granted.height_px) == (320, 240)
        with pytest.raises(CameraStalled, match="broke off"):
            read_to_the_end(camera, seen)
    finally:
        camera.close()
    assert seen == {((320, 240), 60), ((320, 240), 120), ((320, 240), 180)}


def test_pictures_too_large_are_refused_at_the_start_with_their_size(tmp_path: Path) -> None:
    camera = NetworkCamera("north", jpegs(tmp_path / "s.mjpeg", (2, 4200, 4200, 60)))
    with pytest.raises(CameraRefused, match=r"pictures of 4200x4200.*\(sub-\)stream"):
        camera.open()
    assert camera.decoder_pid is None


def test_what_is_no_video_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "s.mjpeg"
    path.write_text("not a film\n" * 1000)
    camera = NetworkCamera("north", str(path))
    with pytest.raises(CameraUnavailable, match="camera north"):
        camera.open()
    assert camera.decoder_pid is None
