"""Recordings as cameras: a video file, or a folder of pictures in the order of their names.

Two ways of playing. With realtime, a recording behaves like a live camera: it keeps its own pace, late frames are
skipped, and mono_s is the monotonic clock's time at which the frame was due. Without, every wanted frame comes as fast
as it can be decoded, mono_s is the recording's own time from 0, and the same file gives the same frames every time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CameraEnded, CameraFormat, CameraStalled, CameraUnavailable, Frame
from drivers.cameras.opencv import fourcc_name, quiet
from drivers.cameras.pace import Pace

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

_SMALLEST_STEP_S = 0.001  # timestamps closer than this are broken: some files give two frames the same one, or go back
_FALLBACK_FPS = 25.0
# grab() gives up after 64 undecodable packets in a row; asked again it goes on behind them. At the true end it says no
# again at once, so asking this often costs nothing.
_GRABS_AFTER_A_FAILURE = 50
# Containers promise a frame or two more than they hold; fewer missing than this is not worth a word.
_TOLERATED_SHORTFALL_FRAMES = 5
_TOLERATED_SHORTFALL_SHARE = 0.01
# Realtime: after falling behind for this long without delivering, deliver what there is and set the pace anew.
_LATEST_DELIVERY_S = 1.0


class Recording(Protocol):
    """What FileCamera plays: pictures with times. `advance` is cheap where it can be, `picture` does the decoding."""

    format: CameraFormat
    frame_interval_s: float
    undecodable: int

    def advance(self) -> float | None:
        """Go to the next frame; its time in seconds from 0, strictly increasing; None at the end."""

    def picture(self) -> npt.NDArray[np.uint8] | None:
        """The frame that `advance` went to, or None if it is broken."""

    def why_short(self) -> str | None:
        """After the end: a sentence if the recording held clearly fewer frames than it promised."""

    def close(self) -> None: ...


class VideoFile:
    """A video file behind OpenCV's FFmpeg.

    Frame times are the container's (read after grab(), when they belong to the grabbed frame), as differences from the
    frame before; where a difference is not positive, the nominal frame interval stands in.
    """

    def __init__(self, path: Path, camera_id: str) -> None:
        quiet()
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraUnavailable(
                f"camera {camera_id}: {path} ({path.stat().st_size} bytes) is not a video that can be played: "
                "wrong kind of file, damaged, or cut off before its index was written; try it with ffprobe"
            )
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._promised_frames = int(max(0.0, self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.frame_interval_s = 1.0 / fps if 0.1 <= fps <= 1000 else 1.0 / _FALLBACK_FPS
        self.format = CameraFormat(
            width_px=int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height_px=int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=fps if 0.1 <= fps <= 1000 else 0.0,
            codec=fourcc_name(int(self._capture.get(cv2.CAP_PROP_FOURCC))),
        )
        self.undecodable = 0
        self._frames = 0
        self._time_s = 0.0
        self._container_s = 0.0

    def advance(self) -> float | None:
        if not self._capture.grab() and not self._grab_behind_damage():
            return None
        container_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if self._frames:
            step_s = container_s - self._container_s
            if step_s < -_SMALLEST_STEP_S:  # gone back: this frame has no time, the next one will have again
                container_s = self._container_s + self.frame_interval_s
            self._time_s += step_s if step_s >= _SMALLEST_STEP_S else self.frame_interval_s
        self._container_s = container_s
        self._frames += 1
        return self._time_s

    def _grab_behind_damage(self) -> bool:
        if self._frames >= self._promised_frames:
            return False
        if any(self._capture.grab() for _ in range(_GRABS_AFTER_A_FAILURE)):
            self.undecodable += 1
            return True
        return False

    def picture(self) -> npt.NDArray[np.uint8] | None:
        ok, image_bgr = self._capture.retrieve()
        if ok and image_bgr is not None and image_bgr.size:
            return cast("npt.NDArray[np.uint8]", image_bgr)
        self.undecodable += 1
        return None

    def why_short(self) -> str | None:
        missing = self._promised_frames - self._frames
        if missing <= max(_TOLERATED_SHORTFALL_FRAMES, _TOLERATED_SHORTFALL_SHARE * self._promised_frames):
            return None
        return (
            f"{self._path} ended at frame {self._frames} of the {self._promised_frames} it promises: "
            "the file is damaged or cut off"
        )

    def close(self) -> None:
        self._capture.release()


class PictureFolder:
    """A folder's pictures in the order of their names, one every 1/fps seconds, scaled to the first one's size."""

    def __init__(self, path: Path, camera_id: str, fps: float) -> None:
        self._paths = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
        if not self._paths:
            raise CameraUnavailable(
                f"camera {camera_id}: no pictures in folder {path}; "
                f"wanted files ending in {', '.join(sorted(PICTURE_SUFFIXES))}"
            )
        first = next((image for p in self._paths if (image := _read_picture(p)) is not None), None)
        if first is None:
            raise CameraUnavailable(
                f"camera {camera_id}: none of the {len(self._paths)} pictures in {path} can be read"
            )
        self.frame_interval_s = 1.0 / fps
        self.format = CameraFormat(first.shape[1], first.shape[0], fps, self._paths[0].suffix.lower().lstrip("."))
        self.undecodable = 0
        self._next = 0

    def advance(self) -> float | None:
        if self._next >= len(self._paths):
            return None
        self._next += 1
        return (self._next - 1) * self.frame_interval_s

    def picture(self) -> npt.NDArray[np.uint8] | None:
        path = self._paths[self._next - 1]
        image_bgr = _read_picture(path)
        if image_bgr is None:
            self.undecodable += 1
            log.warning("%s: cannot be read as a picture; skipped", path)
            return None
        size_wh_px = (self.format.width_px, self.format.height_px)
        if image_bgr.shape[1::-1] != size_wh_px:
            return cast("npt.NDArray[np.uint8]", cv2.resize(image_bgr, size_wh_px, interpolation=cv2.INTER_AREA))
        return image_bgr

    def why_short(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class FileCamera:
    """Plays a video file or a folder of pictures.

    fps: with a video, at most so many frames a second, the others are passed over without being converted (None: all);
    with a folder, the pace at which its pictures are played (None: 1).
    """

    def __init__(
        self,
        camera_id: str,
        path: Path,
        *,
        fps: float | None = None,
        realtime: bool = True,
        loop: bool = False,
        mono_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.camera_id = camera_id
        self.path = path
        self.damage: str | None = None
        """After the end: what was missing, as a sentence; None for a whole recording."""
        self._fps = fps
        self._realtime = realtime
        self._loop = loop
        self._mono_s = mono_s
        self._sleep = sleep
        self._recording: Recording | None = None
        self._undecodable_before = 0
        self._rewind()

    @property
    def undecodable(self) -> int:
        """Frames that were skipped because they were broken, since open()."""
        return self._undecodable_before + (self._recording.undecodable if self._recording else 0)

    def open(self) -> CameraFormat:
        self.close()
        self.damage = None
        self._undecodable_before = 0
        self._rewind()
        self._recording = self._open_recording()
        return self._recording.format

    def read(self, timeout_s: float) -> Frame:
        """The next wanted frame. In realtime, waits until it is due, and skips what is late."""
        if self._recording is None:
            raise CameraUnavailable(f"camera {self.camera_id}: {self.path} is not open; call open() first")
        frame = self._read_realtime(timeout_s) if self._realtime else self._read_next()
        self._delivered = True
        return frame

    def close(self) -> None:
        if self._recording is not None:
            self._undecodable_before += self._recording.undecodable
            self._recording.close()
            self._recording = None

    def _rewind(self) -> None:
        self._index = -1
        self._frame_s = 0.0
        self._lap_began_s = 0.0  # with loop: where on the time axis this lap's first frame lies
        self._started_mono_s: float | None = None
        self._pending = False  # realtime: a frame was gone to but not delivered, its time had not come
        self._delivered = False
        self._pace = Pace(self._fps)

    def _open_recording(self) -> Recording:
        try:
            if self.path.is_dir():
                self._pace = Pace(None)
                return PictureFolder(self.path, self.camera_id, self._fps or 1.0)
            # Opened here first because OpenCV says no to all of these alike.
            with self.path.open("rb"):
                pass
            return VideoFile(self.path, self.camera_id)
        except OSError as exc:
            raise CameraUnavailable(
                f"camera {self.camera_id}: cannot read {self.path.absolute()}: {exc.strerror or exc}; "
                "is the path right, and may the service's user read it?"
            ) from exc

    def _read_next(self) -> Frame:
        while True:
            self._advance()
            if not self._pace.wants(self._frame_s):
                continue
            image_bgr = self._picture()
            if image_bgr is not None:
                return Frame(image_bgr, self._index, self._frame_s)

    def _read_realtime(self, timeout_s: float) -> Frame:
        assert self._recording is not None
        entered_s = self._mono_s()
        while True:
            if not self._pending:
                self._advance()
            self._pending = False
            now_s = self._mono_s()
            if self._started_mono_s is None:
                self._started_mono_s = now_s - self._frame_s
            early_s = self._started_mono_s + self._frame_s - now_s
            behind_for_s = now_s - entered_s
            if early_s < -self._recording.frame_interval_s and behind_for_s < _LATEST_DELIVERY_S:
                continue  # the frame after this one is due already: freshest wins
            if early_s < -_LATEST_DELIVERY_S:
                self._started_mono_s = now_s - self._frame_s  # the machine is too slow for this file
            if not self._pace.wants(self._frame_s):
                continue
            if early_s > 0:
                left_s = timeout_s - behind_for_s
                self._sleep(max(0.0, min(early_s, left_s)))
                if early_s > left_s:
                    self._pending = True
                    raise CameraStalled(
                        f"camera {self.camera_id}: {self.path.name}: next frame is due in {early_s - left_s:.1f} s, "
                        f"waited {timeout_s:g} s"
                    )
            image_bgr = self._picture()
            if image_bgr is not None:
                return Frame(image_bgr, self._index, self._started_mono_s + self._frame_s)

    def _advance(self) -> None:
        assert self._recording is not None
        frame_s = self._recording.advance()
        if frame_s is None:
            self._end()
            frame_s = self._recording.advance()
            if frame_s is None:
                raise CameraEnded(f"camera {self.camera_id}: {self.path} holds no frame that can be decoded")
        self._index += 1
        self._frame_s = self._lap_began_s + frame_s

    def _end(self) -> None:
        """At the end of the recording: begin again, or raise CameraEnded."""
        assert self._recording is not None
        self.damage = self._recording.why_short()
        if self.damage:
            log.warning("camera %s: %s", self.camera_id, self.damage)
        if self._index < 0:
            raise CameraEnded(f"camera {self.camera_id}: {self.path} holds no frame that can be decoded")
        if not (self._loop and self._delivered):
            raise CameraEnded(f"camera {self.camera_id}: {self.damage or f'{self.path} was played to its end'}")
        interval_s = self._recording.frame_interval_s
        self.close()
        self._lap_began_s = self._frame_s + interval_s
        self._recording = self._open_recording()

    def _picture(self) -> npt.NDArray[np.uint8] | None:
        assert self._recording is not None
        return self._recording.picture()


def _read_picture(path: Path) -> npt.NDArray[np.uint8] | None:
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return None
    # imdecode raises on an empty buffer and returns None on anything that is not a picture.
    return cast("npt.NDArray[np.uint8] | None", cv2.imdecode(raw, cv2.IMREAD_COLOR)) if raw.size else None
