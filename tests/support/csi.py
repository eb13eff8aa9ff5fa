"""Ribbon-cable cameras for tests: the smallest call of each board is replaced, all around it is the real thing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.cameras import csi, gstreamer

_FAKE = Path(__file__).with_name("fake_picamera2")
_NEEDED = ("videotestsrc", "videorate", "y4menc")


def fake_pi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_picamera2: bool = True) -> None:
    """A system's Python that has a picamera2, ours."""
    python = tmp_path / "python3"
    path = f"sys.path.insert(0, {str(_FAKE)!r}); " if has_picamera2 else ""
    program = f"import runpy, sys; {path}sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(csi, "SYSTEM_PYTHON", str(python))
    monkeypatch.setattr(csi, "is_jetson", lambda: False)


def jetson_of_test_pictures(
    monkeypatch: pytest.MonkeyPatch, source: str = "videotestsrc is-live=true pattern=ball"
) -> None:
    """A Jetson whose sensor is GStreamer's test picture: only the sensor's element, its memory and scaler differ."""

    def launch(camera: str, caps: str, *rest: str) -> tuple[str, ...]:
        assert camera.startswith("nvarguscamerasrc sensor-id=")
        assert rest[-1] == "nvvidconv"
        return gstreamer.launch(source, caps.replace("(memory:NVMM)", ""), *rest[:-1])

    monkeypatch.setattr(csi, "is_jetson", lambda: True)
    monkeypatch.setattr(csi, "launch", launch)


def skip_without_gst_launch() -> None:
    if shutil.which(gstreamer.LAUNCH) is None:
        pytest.skip(f"no {gstreamer.LAUNCH}; apt-get install gstreamer1.0-tools")
    missing = [
        name
        for name in _NEEDED
        if subprocess.run([gstreamer.INSPECT, "--exists", name], check=False, capture_output=True).returncode
    ]
    if missing:
        pytest.skip(f"this GStreamer has no {', '.join(missing)}; {gstreamer.INSTALL}")
