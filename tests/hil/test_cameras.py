"""Real cameras keep the contract that the fakes keep. On a board, with cameras connected:

    GATEWAY_HIL_SOURCES="csi:0 v4l2:/dev/video0 rtsp://10.0.0.21/stream1" python -m pytest -m hil tests/hil

Logins of network cameras: GATEWAY_HIL_CREDENTIALS names a credentials file for all of them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.cameras import Credentials, make_camera
from tests.support.camera_contract import CONTRACT, Subject

SOURCES = os.environ.get("GATEWAY_HIL_SOURCES", "").split()
_FILE = os.environ.get("GATEWAY_HIL_CREDENTIALS")
LOGIN = Credentials(**tomllib.loads(Path(_FILE).read_text())) if _FILE else None


@pytest.mark.hil
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "source", SOURCES or [pytest.param("", marks=pytest.mark.skip("GATEWAY_HIL_SOURCES is empty"))]
)
def test_the_camera(source: str, check: Callable[[Subject], None]) -> None:
    check(Subject(lambda: make_camera("north", source, fps=10.0, credentials=LOGIN)))
