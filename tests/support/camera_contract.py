"""What every camera driver promises (drivers/README.md), as checks that take any camera: fakes, servers, real ones.

A check gets a maker of cameras that are not open yet, and fails with an assertion. `is_live`: frames carry this
machine's monotonic time; a recording's carry its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from drivers.base import Camera, CameraStalled, CameraUnavailable

FIRST_FRAME_S = 12.0
FRAME_S = 10.0
_SLACK_S = 3.0  # for a machine that is busy with other things


@dataclass(frozen=True)
class Subject:
    """make: a camera, not open yet. make_absent: one whose source is not there. silence: from now on the source gives
    nothing, until the function that it returns is called. name: the cameras' id."""

    make: Callable[[], Camera]
    make_absent: Callable[[], Camera] | None = None
    silence: Callable[[], Callable[[], object]] | None = None
    is_live: bool = True
    name: str = "north"


def gives_pictures_as_granted_and_leaves_them_to_the_reader(subject: Subject) -> None:
    camera = subject.make()
    try:
        granted = camera.open()
        assert granted.width_px > 0
        assert granted.height_px > 0
        assert granted.fps >= 0.0
        assert granted.codec
        frames = [camera.read(FIRST_FRAME_S)]
        before = frames[0].image_bgr.copy()
        frames += [camera.read(FRAME_S) for _ in range(3)]
    finally:
        camera.close()
    np.testing.assert_array_equal(frames[0].image_bgr, before)
    for frame in frames:
        assert frame.image_bgr.dtype == np.uint8
        assert frame.image_bgr.shape == (granted.height_px, granted.width_px, 3)
    for earlier, later in pairwise(frames):
        assert later.index > earlier.index
        assert later.mono_s > earlier.mono_s
    if subject.is_live:
        assert 0 <= time.monotonic() - frames[-1].mono_s < 60


def may_be_opened_again_and_closed_twice(subject: Subject) -> None:
    camera = subject.make()
    camera.close()  # before it was ever open
    try:
        for _ in range(2):
            camera.open()
            camera.read(FIRST_FRAME_S)
            camera.close()
            camera.close()
    finally:
        camera.close()


def says_that_it_is_not_open(subject: Subject) -> None:
    camera = subject.make()
    with pytest.raises(CameraUnavailable, match=f"{subject.name}.*not open"):
        camera.read(1.0)


def says_who_it_is_when_it_cannot_be_opened(subject: Subject) -> None:
    if subject.make_absent is None:
        pytest.skip("nothing can be absent here")
    camera = subject.make_absent()
    began_s = time.monotonic()
    with pytest.raises(CameraUnavailable, match=rf"^camera {subject.name}: .{{20,}}"):
        camera.open()
    assert time.monotonic() - began_s < 10.0 + _SLACK_S
    camera.close()


def waits_for_a_silent_source_no_longer_than_it_was_told(subject: Subject) -> None:
    if subject.silence is None:
        pytest.skip("this source cannot be made silent")
    camera = subject.make()
    try:
        camera.open()
        camera.read(FIRST_FRAME_S)
        end = subject.silence()
        try:
            with pytest.raises(CameraStalled, match=rf"^camera {subject.name}: .*no picture"):
                _read_to_the_silence(camera)
        finally:
            end()
    finally:
        camera.close()


def _read_to_the_silence(camera: Camera) -> None:
    """What had been sent before may still come."""
    for _ in range(20):
        began_s = time.monotonic()
        try:
            camera.read(1.0)
        finally:
            assert time.monotonic() - began_s < 1.0 + _SLACK_S


WELL = (
    gives_pictures_as_granted_and_leaves_them_to_the_reader,
    may_be_opened_again_and_closed_twice,
    says_that_it_is_not_open,
)
CONTRACT = (
    *WELL,
    says_who_it_is_when_it_cannot_be_opened,
    waits_for_a_silent_source_no_longer_than_it_was_told,
)
